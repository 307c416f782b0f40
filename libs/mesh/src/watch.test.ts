import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Instance, TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { grpcJsClient } from '@docmesh/rpc'
import { silentLogger } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { startRegistry, startSilence } from './registry.fixture.ts'
import { EMPTY_MESH, type MeshState } from './snapshot.ts'
import { createSnapshotFile, type SnapshotFile } from './snapshot-file.ts'
import { followMesh } from './watch.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

async function registry(options?: Parameters<typeof startRegistry>[0]) {
  const started = await startRegistry(options)
  releases.push(started.stop)
  return started
}

/** Follows the mesh until the test ends; the states that it has had. */
function follow(
  targets: readonly string[],
  options: { file?: Promise<SnapshotFile>; firstAnswerMs?: number } = {},
) {
  const states: MeshState[] = []
  const end = new AbortController()
  const following = followMesh(
    {
      targets,
      transport: grpcJsClient,
      logger: silentLogger,
      onState: (state) => states.push(state),
      onLost: () => {},
      ...options,
    },
    end.signal,
  )
  const stop = (): Promise<void> => {
    end.abort()
    return following
  }
  releases.push(stop)
  return { states, stop }
}

it('takes another replica when one accepts the connection and stays silent', async () => {
  const { address } = await registry()
  const silence = await startSilence()
  releases.push(silence.stop)
  const { states } = follow([silence.address, address], { firstAnswerMs: 1_000 })
  await eventually(() => expect(states.at(-1)?.epoch).toBe('e1'))
})

it('follows the policies', async () => {
  const { address, putPolicy } = await registry()
  const { states } = follow([address])
  await eventually(() => expect(states).toHaveLength(1))
  putPolicy(TrafficPolicy.fromPartial({ service: 'document', etag: 'x' }))
  await eventually(() => expect(states.at(-1)?.policies.get('document')?.etag).toBe('x'))
})

describe('acknowledgements', () => {
  it('tell the newest revision that has been applied, under one name', async () => {
    const { address, put, acknowledged } = await registry()
    put({ instanceId: 'i1' })
    follow([address])
    await eventually(() => expect(acknowledged.at(-1)).toMatchObject({ epoch: 'e1', revision: 1n }))
    for (let i = 2; i <= 50; i++) put({ instanceId: `i${i}` })
    await eventually(() => expect(acknowledged.at(-1)?.revision).toBe(50n))
    expect(new Set(acknowledged.map(({ watcherId }) => watcherId)).size).toBe(1)
    expect(acknowledged[0]?.watcherId).not.toBe('')
  })

  it('carry the name that the watch was opened with', async () => {
    const { address, acknowledged, watches } = await registry()
    follow([address])
    await eventually(() => expect(acknowledged).toHaveLength(1))
    expect(watches).toEqual([{ epoch: '', fromRevision: 0n, watcherId: acknowledged[0]?.watcherId }])
  })
})

describe('a saved state', () => {
  const saved: MeshState = { ...EMPTY_MESH, savedAt: new Date(0) }
  function memory() {
    const log: string[] = []
    const file: SnapshotFile = {
      load: async () => saved,
      save: ({ revision }) => void log.push(`saved ${revision}`),
      close: async () => void log.push('closed'),
    }
    return { file: Promise.resolve(file), log }
  }

  it('counts while no registry answers', async () => {
    const { states } = follow(['127.0.0.1:1'], { file: memory().file })
    await eventually(() => expect(states).toEqual([saved]))
  })

  it('is replaced by the first answer, and saved anew with every one', async () => {
    const { address, put, watches } = await registry()
    const { file, log } = memory()
    const { states, stop } = follow([address], { file })
    await eventually(() => expect(states).toMatchObject([saved, { epoch: 'e1' }]))
    put({ instanceId: 'i1' })
    await eventually(() => expect(states).toHaveLength(3))
    await stop()
    expect(watches).toMatchObject([{ epoch: 'saved', fromRevision: 0n }])
    expect(log).toEqual(['saved 0', 'saved 1', 'closed'])
  })

  it('counts until the instances had time to register with a registry that has just started', async () => {
    const settled = Promise.withResolvers<void>()
    const { address, put, watches } = await registry({ settled: settled.promise })
    const i1 = Instance.fromPartial({ registration: { instanceId: 'i1' } })
    const file: SnapshotFile = { ...(await memory().file), load: async () => known }
    const known = { ...saved, instances: new Map([['i1', i1]]) }
    const { states } = follow([address], { file: Promise.resolve(file) })
    await eventually(() => expect(watches).toHaveLength(1))
    put({ instanceId: 'i1' })
    put({ instanceId: 'i2' })
    settled.resolve()
    await eventually(() => expect(states.at(-1)?.epoch).toBe('e1'))
    expect(states.map(({ instances }) => [...instances.keys()])).toEqual([['i1'], ['i1', 'i2']])
  })

  it('is as old as the last sign that it is true, however long nothing changes', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'docmesh-watch-'))
    releases.push(() => rm(directory, { recursive: true }))
    vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'], now: Date.now() })
    releases.push(() => vi.useRealTimers())
    const open = () =>
      createSnapshotFile({ path: join(directory, 'x.mesh'), logger: silentLogger, delayMs: 0 })
    const { address, put } = await registry()
    put({ instanceId: 'i1' })
    const { states, stop } = follow([address], { file: Promise.resolve(open()) })
    await eventually(() => expect(states).toHaveLength(1))
    vi.advanceTimersByTime(30 * 3_600_000)
    await stop()
    expect((await open().load())?.instances.size).toBe(1)
    expect(states).toHaveLength(1)
  })
})
