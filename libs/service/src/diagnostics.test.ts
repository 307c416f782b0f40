import {
  DiagnosticsServiceDefinition,
  HealthState,
  LifecycleState,
} from '@docmesh/contracts/ops/v1/diagnostics'
import { joinMesh } from '@docmesh/mesh'
import { Code, createClient, implement, routesOf } from '@docmesh/rpc'
import { createHealth, createMetrics } from '@docmesh/telemetry'
import { createLogger } from '@docmesh/telemetry/logger'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { diagnostics } from './diagnostics.ts'
import { createLifecycle } from './lifecycle.ts'

const releases: (() => unknown)[] = []
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(async () => {
  vi.useRealTimers()
  for (const release of releases.splice(0).reverse()) await release()
})

function inside() {
  const logger = createLogger({ service: 's', version: '1', destination: { write() {} } })
  const metrics = createMetrics({ service: 's', version: '1', processMetrics: false })
  const health = createHealth()
  const lifecycle = createLifecycle(() => new Date(0))
  const mesh = joinMesh({ registryTargets: ['127.0.0.1:1'], logger, metrics })
  releases.push(() => mesh.close())
  const implementation = diagnostics({
    service: 's',
    instanceId: 's-1',
    version: '1',
    startedAt: Date.now(),
    health,
    lifecycle,
    logger,
    metrics,
    mesh,
    implementations: [implement(DiagnosticsServiceDefinition, {})],
  })
  const routes = routesOf(implementation, [])
  const signal = new AbortController().signal
  const client = createClient(
    DiagnosticsServiceDefinition,
    async ({ method, metadata, deadline, request }) => {
      const route = routes.find((each) => each.method.name === method.name)
      const bytes = await route?.unary(
        { metadata, deadline, peer: '', signal },
        method.request.encode(request),
      )
      return method.response.decode(bytes ?? Buffer.alloc(0))
    },
  )
  return { client, logger, health, lifecycle, metrics }
}

describe('GetDiagnostics', () => {
  it('tells of process, health, life, metrics and log level', async () => {
    const { client, lifecycle, health, metrics } = inside()
    lifecycle.enter(LifecycleState.READY, 'listening')
    health.register({ name: 'database', critical: true, check: () => Promise.reject(new Error('refused')) })
    health.start()
    await vi.waitFor(() => expect(health.report().state).toBe('unhealthy'))
    metrics.histogram('docmesh_document_upload_bytes').observe(1_000)
    const answer = await client.getDiagnostics({})
    health.stop()
    expect(answer).toMatchObject({
      process: { service: 's', instanceId: 's-1', version: '1', pid: process.pid },
      health: HealthState.UNHEALTHY,
      checks: [{ name: 'database', critical: true, state: HealthState.UNHEALTHY, detail: 'refused' }],
      lifecycle: LifecycleState.READY,
      transitions: [{ reason: 'process started' }, { state: LifecycleState.READY, reason: 'listening' }],
      metrics: [{ name: 'docmesh_document_upload_bytes', count: 1n, value: 1_000 }],
      logLevel: 'info',
    })
  })

  it('names the methods of the contract that have no handler', async () => {
    const { client } = inside()
    const { unimplementedMethods } = await client.getDiagnostics({})
    expect(unimplementedMethods).toContain('docmesh.ops.v1.DiagnosticsService/GetDiagnostics')
    expect(unimplementedMethods.filter((name) => name.endsWith('/GetDiagnostics'))).toHaveLength(1)
  })
})

describe('SetLogLevel', () => {
  const seconds = (value: number) => ({ seconds: BigInt(value), nanos: 0 })

  it('changes the level and answers the one before', async () => {
    const { client, logger } = inside()
    expect(await client.setLogLevel({ level: 'debug' })).toEqual({ previousLevel: 'info' })
    expect(logger.level).toBe('debug')
  })

  it('goes back after the time that was given', async () => {
    const { client, logger } = inside()
    await client.setLogLevel({ level: 'debug', duration: seconds(60) })
    await vi.advanceTimersByTimeAsync(59_999)
    expect(logger.level).toBe('debug')
    await vi.advanceTimersByTimeAsync(1)
    expect(logger.level).toBe('info')
  })

  it('goes back to the lasting level when two times overlap', async () => {
    const { client, logger } = inside()
    await client.setLogLevel({ level: 'debug', duration: seconds(60) })
    expect(await client.setLogLevel({ level: 'trace', duration: seconds(120) })).toEqual({
      previousLevel: 'debug',
    })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(logger.level).toBe('trace')
    await vi.advanceTimersByTimeAsync(60_000)
    expect(logger.level).toBe('info')
  })

  it('that is lasting ends one that was for a time', async () => {
    const { client, logger } = inside()
    await client.setLogLevel({ level: 'debug', duration: seconds(60) })
    await client.setLogLevel({ level: 'warn' })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(logger.level).toBe('warn')
  })

  it('refuses an unknown level and a time that is none or too long, and changes nothing', async () => {
    const { client, logger } = inside()
    for (const duration of [seconds(0), seconds(-1), seconds(86_401)]) {
      await expect(client.setLogLevel({ level: 'loud', duration })).rejects.toMatchObject({
        code: Code.INVALID_ARGUMENT,
      })
      await expect(client.setLogLevel({ level: 'debug', duration })).rejects.toThrow('duration')
    }
    expect(logger.level).toBe('info')
  })
})
