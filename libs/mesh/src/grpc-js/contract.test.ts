import { AnalysisServiceDefinition } from '@docmesh/contracts/analysis/v1/analysis'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import type { ServiceDefinition } from '@docmesh/rpc'
import { expect, it } from 'vitest'
import { hedgedPaths, isRepeatable, isUnary, readContract } from './contract.ts'

const LEVELS = { NO_SIDE_EFFECTS: 'safe', IDEMPOTENT: 'idempotent' } as const

it.each<ServiceDefinition>([DocumentServiceDefinition, AnalysisServiceDefinition])(
  'the contract says of $fullName what its generated code says',
  ({ fullName, methods }) => {
    const methodAt = readContract()
    for (const { name, requestStream, responseStream, options } of Object.values(methods))
      expect(methodAt(`/${fullName}/${name}`)).toMatchObject({
        service: fullName,
        name,
        requestStream,
        responseStream,
        idempotency: options.idempotencyLevel ? LEVELS[options.idempotencyLevel] : 'none',
      })
  },
)

it('nothing is known of a method outside the contract', () => {
  const method = readContract()('/acme.v1.Orders/Place')
  expect(method).toMatchObject({ service: 'acme.v1.Orders', name: 'Place' })
  expect([isUnary(method), isRepeatable(method)]).toEqual([false, false])
})

it('only a unary method that the contract calls idempotent can be hedged', () => {
  const methodAt = readContract()
  const name = 'docmesh.document.v1.DocumentService/GetDocument'
  expect(hedgedPaths([name], methodAt)).toEqual(new Set([`/${name}`]))
  for (const each of ['DownloadDocument', 'UploadDocument', 'Unknown'])
    expect(() => hedgedPaths([`docmesh.document.v1.DocumentService/${each}`], methodAt)).toThrow(RangeError)
})
