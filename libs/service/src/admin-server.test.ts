import { once } from 'node:events'
import { connect } from 'node:net'
import { LifecycleState } from '@docmesh/contracts/ops/v1/diagnostics'
import { createHealth, createMetrics } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { type AdminServer, startAdminServer } from './admin-server.ts'
import { createLifecycle } from './lifecycle.ts'

let server: AdminServer | undefined
afterEach(() => server?.close())

async function started() {
  const metrics = createMetrics({ service: 'fixture', version: '1.2.3', processMetrics: false })
  const health = createHealth()
  const lifecycle = createLifecycle(() => new Date())
  server = await startAdminServer('127.0.0.1:0', { health, metrics, lifecycle })
  const { address } = server
  const get = async (path: string) => {
    const response = await fetch(`http://${address}${path}`)
    const type = response.headers.get('content-type')
    return { status: response.status, type, body: await response.text() }
  }
  const statuses = async () =>
    Object.fromEntries(
      await Promise.all(
        ['livez', 'startupz', 'readyz', 'health'].map(async (path) => [path, (await get(`/${path}`)).status]),
      ),
    )
  return { health, lifecycle, get, statuses, address }
}

/** Registers a check whose result the test decides. */
function switchable(health: ReturnType<typeof createHealth>) {
  let well = true
  health.register({
    name: 'database',
    critical: true,
    intervalMs: 10,
    timeoutMs: 5,
    check: async () => {
      if (!well) throw new Error('postgres://docmesh:hunter2@db refused')
    },
  })
  health.start()
  return (value: boolean) => {
    well = value
  }
}

describe('the probes', () => {
  it('follow the life of a service without checks', async () => {
    const { lifecycle, statuses } = await started()
    expect(await statuses()).toEqual({ livez: 200, startupz: 503, readyz: 503, health: 200 })
    lifecycle.enter(LifecycleState.READY, 'listening')
    expect(await statuses()).toEqual({ livez: 200, startupz: 200, readyz: 200, health: 200 })
    lifecycle.enter(LifecycleState.STOPPING, 'SIGTERM')
    expect(await statuses()).toEqual({ livez: 200, startupz: 200, readyz: 503, health: 200 })
  })

  it('say 503 while a critical check fails, but the process stays alive', async () => {
    const { health, lifecycle, statuses } = await started()
    const set = switchable(health)
    lifecycle.enter(LifecycleState.READY, 'listening')
    const well = { livez: 200, startupz: 200, readyz: 200, health: 200 }
    await eventually(async () => expect(await statuses()).toEqual(well))
    set(false)
    const ill = { livez: 200, startupz: 200, readyz: 503, health: 503 }
    await eventually(async () => expect(await statuses()).toEqual(ill))
    set(true)
    await eventually(async () => expect(await statuses()).toEqual(well))
    health.stop()
  })

  it('report each check, without secrets', async () => {
    const { health, get } = await started()
    switchable(health)(false)
    await eventually(async () =>
      expect(JSON.parse((await get('/health')).body)).toMatchObject({
        state: 'unhealthy',
        checks: [{ name: 'database', critical: true, state: 'failed' }],
      }),
    )
    expect((await get('/health')).body).not.toContain('hunter2')
    health.stop()
  })
})

describe('the admin port', () => {
  it('answers metrics as OpenMetrics', async () => {
    const { get } = await started()
    const { status, type, body } = await get('/metrics')
    expect({ status, type }).toEqual({
      status: 200,
      type: expect.stringContaining('application/openmetrics-text; version=1.0.0'),
    })
    expect(body).toContain('docmesh_build_info{service="fixture",version="1.2.3"} 1')
    expect(body).toMatch(/# EOF\s*$/)
  })

  it('answers the paths that there are for one that there is not, whatever its query', async () => {
    const { get } = await started()
    expect((await get('/livez?verbose=1')).status).toBe(200)
    const { status, type, body } = await get('/secret')
    expect({ status, type }).toEqual({ status: 404, type: 'application/json' })
    expect(JSON.parse(body).paths).toEqual(['/livez', '/startupz', '/readyz', '/health', '/metrics'])
  })

  it.each(['//', '/\\', 'http://[', '*', '/%'])('answers 404 to the malformed path %s', async (path) => {
    const { address } = await started()
    const socket = connect(Number(address.split(':')[1]), '127.0.0.1')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    const [answer] = await once(socket, 'data')
    expect(String(answer)).toMatch(/^HTTP\/1.1 404 /)
  })

  it('says which address it cannot listen on', async () => {
    const { address, health, lifecycle } = await started()
    const metrics = createMetrics({ service: 'other', version: '1', processMetrics: false })
    await expect(startAdminServer(address, { health, metrics, lifecycle })).rejects.toThrow(
      new RegExp(`^Cannot listen on ${address}: .*EADDRINUSE`),
    )
  })

  it('closes though a client keeps its connection open', async () => {
    const { address, get } = await started()
    await get('/livez')
    const idle = connect(Number(address.split(':')[1]), '127.0.0.1')
    await once(idle, 'connect')
    const gone = once(idle, 'close')
    await server?.close()
    await gone
    await expect(get('/livez')).rejects.toThrow('fetch failed')
  })
})
