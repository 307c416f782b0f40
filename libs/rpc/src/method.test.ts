import { HealthCheckResponse, HealthDefinition } from '@docmesh/contracts/grpc/health/v1/health'
import { expect, it } from 'vitest'
import { encodeOnce, methodsOf } from './method.ts'

const { check } = methodsOf(HealthDefinition)

it('a message that is encoded already is sent as it is, the same bytes each time', () => {
  const encoded = encodeOnce(HealthCheckResponse, HealthCheckResponse.fromPartial({ status: 1 }))
  const bytes = check?.response.encode(encoded)
  expect(bytes).toEqual(check?.response.encode({ status: 1 }))
  expect(check?.response.encode(encoded)).toBe(bytes)
  expect(check?.response.decode(bytes as Uint8Array)).toEqual({ status: 1 })
})
