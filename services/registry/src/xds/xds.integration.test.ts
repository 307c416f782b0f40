import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { DiagnosticsServiceDefinition, GetDiagnosticsResponse } from '@docmesh/contracts/ops/v1/diagnostics'
import { grpcJsServer, implement, routesOf } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Member } from '../member.ts'
import { xdsImplementations } from './ads.ts'
import { member, type ScriptedMesh, scriptedMesh } from './mesh.fixture.ts'

const releases: (() => unknown)[] = []
const mesh: ScriptedMesh = scriptedMesh()
let client: Awaited<ReturnType<typeof startClient>>
let a: Member
let b: Member
let canary: Member

/** An instance that says who it is. */
async function backend(instanceId: string, version: string): Promise<Member> {
  const getDiagnostics = async () => GetDiagnosticsResponse.fromPartial({ process: { instanceId, version } })
  const listener = await grpcJsServer.listen(
    '127.0.0.1:0',
    routesOf(implement(DiagnosticsServiceDefinition, { getDiagnostics }), []),
  )
  releases.push(() => listener.close(0))
  return member(instanceId, { version, address: listener.address })
}

/** grpc-js-xds in a process of its own, given this control plane and nothing else. */
async function startClient(address: string) {
  const config = {
    xds_servers: [{ server_uri: address, channel_creds: [{ type: 'insecure' }] }],
    node: { id: 'test', locality: {} },
  }
  const child: ChildProcess = spawn(
    process.execPath,
    [fileURLToPath(new URL('grpc-js-client.fixture.ts', import.meta.url))],
    {
      env: { ...process.env, GRPC_XDS_BOOTSTRAP_CONFIG: JSON.stringify(config) },
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  releases.push(async () => {
    child.stdin?.end()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  if (!child.stdout) throw new Error('the client has no output')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return async (order: {
    target?: string
    calls: number
    headers?: Readonly<Record<string, string>>
  }): Promise<Record<string, number>> => {
    child.stdin?.write(`${JSON.stringify({ target: 'xds:///document', ...order })}\n`)
    const { value, done } = await lines.next()
    if (done) throw new Error('the client has ended')
    return JSON.parse(value).counts
  }
}

beforeAll(async () => {
  const metrics = createMetrics({ service: 'registry', version: '1', processMetrics: false })
  const { implementations } = xdsImplementations(mesh, metrics, silentLogger)
  const routes = implementations.flatMap((implementation) => routesOf(implementation, []))
  const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
  releases.push(() => listener.close(0))
  a = await backend('a', '1')
  b = await backend('b', '1')
  canary = await backend('c', '2')
  client = await startClient(listener.address)
})
afterAll(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

describe('grpc-js-xds', () => {
  it('calls a service by its name, and follows its instances', async () => {
    mesh.set({ members: [a] })
    expect(await client({ calls: 10 })).toEqual({ '1 a': 10 })
    mesh.set({ members: [a, { ...b, address: b.address.replace('127.0.0.1', 'localhost') }] })
    await eventually(async () => expect(await client({ calls: 10 })).toEqual({ '1 a': 5, '1 b': 5 }))
    mesh.set({ members: [{ ...a, state: 'suspect' }, b] })
    await eventually(async () => expect(await client({ calls: 10 })).toEqual({ '1 b': 10 }))
  })

  it('goes on calling instances that are all suspect: nobody said that they left', async () => {
    mesh.set({ members: [a, b] })
    await eventually(async () => expect(await client({ calls: 10 })).toEqual({ '1 a': 5, '1 b': 5 }))
    mesh.set({
      members: [
        { ...a, state: 'suspect' },
        { ...b, state: 'suspect' },
        { ...canary, state: 'draining' },
      ],
    })
    const order = { target: 'xds:///suspects', calls: 1 }
    expect(Object.keys(await client(order))).toEqual([expect.stringMatching(/^UNAVAILABLE /)]) // sent after the change
    expect(await client({ calls: 10 })).toEqual({ '1 a': 5, '1 b': 5 })
  })

  it('hears at once that nobody serves a name, and is served when somebody does', async () => {
    const order = { target: 'xds:///later', calls: 1 }
    expect(Object.keys(await client(order))).toEqual([expect.stringMatching(/^UNAVAILABLE /)])
    mesh.set({ members: [...mesh.members(), { ...a, service: 'later', instanceId: 'l' }] })
    await eventually(async () => expect(await client(order)).toEqual({ '1 a': 1 }))
  })

  it('follows weights', async () => {
    mesh.set({
      members: [a, canary],
      policies: [
        {
          service: 'document',
          weights: [
            { version: '1', weight: 90 },
            { version: '2', weight: 10 },
          ],
        },
      ],
    })
    const calls = 400
    await eventually(async () => {
      const { '2 c': second = 0, '1 a': first = 0 } = await client({ calls })
      expect(first + second).toBe(calls)
      expect(second).toBeGreaterThan(10) // five standard deviations below 40
      expect(second).toBeLessThan(70)
    })
  })

  it('follows rules on headers and methods', async () => {
    const method = 'docmesh.ops.v1.DiagnosticsService/GetDiagnostics'
    mesh.set({
      members: [a, canary],
      policies: [
        {
          service: 'document',
          rules: [
            {
              version: '2',
              method,
              headers: [
                { name: 'x-a', match: { $case: 'exact', value: 'yes' } },
                { name: 'x-b', match: { $case: 'prefix', value: 'ye' } },
                { name: 'x-c', match: { $case: 'present', value: false } },
              ],
            },
            { version: '2', method: 'docmesh.ops.v1.DiagnosticsService/SetLogLevel' },
          ],
          weights: [{ version: '1', weight: 100 }],
        },
      ],
    })
    const matching = { 'x-a': 'yes', 'x-b': 'yes' }
    await eventually(async () => expect(await client({ calls: 5, headers: matching })).toEqual({ '2 c': 5 }))
    for (const headers of [
      {},
      { ...matching, 'x-a': 'no' },
      { ...matching, 'x-b': 'no' },
      { ...matching, 'x-c': '' },
    ]) {
      expect(await client({ calls: 5, headers })).toEqual({ '1 a': 5 })
    }
  })

  it('keeps calls with the same header value on the same instance', async () => {
    mesh.set({ members: [a, b, canary], policies: [{ service: 'document', hash: { header: 'x-user' } }] })
    await eventually(async () => {
      const seen = new Set<string>()
      for (let user = 0; user < 12; user++) {
        const counts = await client({ calls: 10, headers: { 'x-user': `user-${user}` } })
        expect(Object.values(counts)).toEqual([10])
        for (const instance of Object.keys(counts)) seen.add(instance)
      }
      expect(seen.size).toBeGreaterThan(1)
    })
  })

  it('gets the faults of the policy', async () => {
    const fault = { abortPercent: 100, abortCode: 8, delayPercent: 0, delay: undefined }
    mesh.set({ members: [a], policies: [{ service: 'document', fault }] })
    await eventually(async () =>
      expect(await client({ calls: 3 })).toEqual({ 'RESOURCE_EXHAUSTED Fault injected': 3 }),
    )
    mesh.set({ policies: [] })
    await eventually(async () => expect(await client({ calls: 3 })).toEqual({ '1 a': 3 }))
  })

  it('lives through a service that loses all its instances', async () => {
    mesh.set({ members: [] })
    await eventually(async () =>
      expect(Object.keys(await client({ calls: 1 }))).toEqual([expect.stringMatching(/^UNAVAILABLE /)]),
    )
    mesh.set({ members: [a] })
    await eventually(async () => expect(await client({ calls: 3 })).toEqual({ '1 a': 3 }))
  })
})
