import { setImmediate } from 'node:timers/promises'
import { HealthCheckResponse_ServingStatus as Serving } from '@docmesh/contracts/grpc/health/v1/health'
import { expect, it } from 'vitest'
import type { CallContext } from './context.ts'
import { createHealthService } from './health.ts'

type Watch = (request: { service: string }, context: CallContext) => AsyncGenerator<{ status: Serving }>

function watch(service = '') {
  const health = createHealthService(['docmesh.document.v1.DocumentService'])
  const leave = new AbortController()
  const context = { requestId: '', userId: '', tenantId: '', deadline: 0, signal: leave.signal }
  const stream = (health.implementation.handlers.watch as Watch)({ service }, context)
  return { health, leave, stream, next: async () => (await stream.next()).value?.status }
}

it('tells a watcher of a change that came while it was still busy with the one before', async () => {
  const { health, next } = watch()
  expect(await next()).toBe(Serving.NOT_SERVING)
  health.set(true)
  expect(await next()).toBe(Serving.SERVING)
  health.set(false)
  expect(await next()).toBe(Serving.NOT_SERVING)
})

it('tells a watcher that was busy only the newest state', async () => {
  const { health, next } = watch()
  await next()
  health.set(true)
  health.set(false)
  const waiting = next()
  health.set(true)
  expect(await waiting).toBe(Serving.SERVING)
})

it('ends a watch whose watcher leaves, waiting or not', async () => {
  const waiting = watch()
  await waiting.next()
  const last = waiting.next()
  waiting.leave.abort()
  expect(await last).toBeUndefined()
  const busy = watch()
  await busy.next()
  busy.leave.abort()
  expect(await busy.next()).toBeUndefined()
})

it('tells a watcher of an unknown service once that it is unknown, and ends only when the watcher leaves', async () => {
  const { health, leave, next } = watch('nobody')
  expect(await next()).toBe(Serving.SERVICE_UNKNOWN)
  const last = next()
  health.set(true)
  expect(await Promise.race([last, setImmediate('still open')])).toBe('still open')
  leave.abort()
  expect(await last).toBeUndefined()
})
