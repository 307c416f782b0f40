import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { IncidentKind, InstanceState, Registration } from '@docmesh/contracts/registry/v1/registry'
import { grpcJsClient } from '@docmesh/rpc'
import { silentLogger } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { type MembershipEvents, register } from './registration.ts'
import { startRegistry, startSilence } from './registry.fixture.ts'

const { SERVING, DRAINING } = InstanceState

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

async function registry(options?: Parameters<typeof startRegistry>[0]) {
  const started = await startRegistry(options)
  releases.push(started.stop)
  return started
}

async function silence(): Promise<string> {
  const started = await startSilence()
  releases.push(started.stop)
  return started.address
}

function join(targets: readonly string[], events: Partial<MembershipEvents> & { incarnation?: bigint } = {}) {
  const { incarnation = 1n, ...rest } = events
  const membership = register(
    Registration.fromPartial({
      service: 'document',
      instanceId: 'i1',
      address: 'h:1',
      incarnation,
      state: SERVING,
    }),
    {
      targets,
      transport: grpcJsClient,
      logger: silentLogger,
      onReplaced: () => {},
      onDrain: () => {},
      ...rest,
    },
  )
  let left: Promise<void> | undefined
  const leave = (): Promise<void> => {
    left ??= membership.leave()
    return left
  }
  releases.push(leave)
  return { ...membership, leave }
}

describe('an instance of the mesh', () => {
  it('is listed at every replica', async () => {
    const [one, two] = [await registry(), await registry({ epoch: 'e2' })]
    await join([one.address, two.address]).granted
    for (const { heard } of [one, two])
      await eventually(() =>
        expect(heard).toEqual([{ said: 'registration', instanceId: 'i1', state: SERVING }]),
      )
  })

  it('registers again with a registry that was started anew', async () => {
    const first = await registry()
    const membership = join([first.address])
    await membership.granted
    await first.stop()
    const second = await registry({ epoch: 'e2', address: first.address })
    await eventually(() => expect(second.heard).toMatchObject([{ said: 'registration', instanceId: 'i1' }]))
    expect(second.tokens).toEqual(['e1-1'])
  })

  it('reports what it has seen, to one replica', async () => {
    const [one, two] = [await registry(), await registry({ epoch: 'e2' })]
    const membership = join([one.address, two.address])
    await membership.granted
    membership.report({
      kind: 'circuit_opened',
      at: new Date(7),
      service: 'a',
      instanceId: '',
      methodClass: 'read',
      reason: 'x',
    })
    await eventually(() => expect([...one.incidents, ...two.incidents]).toHaveLength(1))
    expect([...one.incidents, ...two.incidents]).toMatchObject([
      { kind: IncidentKind.CIRCUIT_OPENED, service: 'a', at: new Date(7), methodClass: 'read', reason: 'x' },
    ])
  })

  it('is told that the registry asks for a drain, and drains already', async () => {
    const { address, heard, command } = await registry()
    const asked = Promise.withResolvers<number | undefined>()
    const membership = join([address], { onDrain: asked.resolve })
    await membership.granted
    command('drain', 700)
    expect(await asked.promise).toBe(700)
    await eventually(() => expect(heard.at(-1)).toMatchObject({ said: 'heartbeat', state: DRAINING }))
  })

  it.each([
    ['a newer process', 0n, [], 'STALE_INCARNATION'],
    ['another process', 1n, ['INSTANCE_EXISTS'], 'INSTANCE_EXISTS'],
  ] as const)(
    'whose id %s has taken hears of it, and does not insist',
    async (_, incarnation, refusals, reason) => {
      const { address, heard } = await registry({ refusals })
      const replaced = Promise.withResolvers<Error>()
      const membership = join([address], { incarnation, onReplaced: replaced.resolve })
      expect(await replaced.promise).toMatchObject({ reason })
      await membership.drain()
      await membership.leave()
      expect(heard.map(({ said }) => said)).toEqual(['registration', 'deregister'])
    },
  )
})

it('a thread that dies is replaced, and takes the lease up where it was', async () => {
  const { address, heard, tokens } = await registry()
  const started = once(process, 'worker') as Promise<[Worker]>
  const membership = join([address])
  const [thread] = await started
  await membership.granted
  await thread.terminate()
  await eventually(() => expect(tokens).toEqual(['', 'e1-1']))
  await membership.drain()
  expect(heard.at(-1)).toMatchObject({ said: 'heartbeat', state: DRAINING })
})

describe('an instance that drains', () => {
  it('waits until the registry says that the callers know', async () => {
    const known = Promise.withResolvers<void>()
    const { address, heard } = await registry({ drain: () => known.promise })
    const membership = join([address])
    await membership.granted
    let isDrained = false
    const drained = membership.drain().then(() => {
      isDrained = true
    })
    await eventually(() => expect(heard.at(-1)).toMatchObject({ said: 'drain' }))
    expect(heard.at(-2)).toEqual({ said: 'heartbeat', instanceId: 'i1', state: DRAINING })
    expect(isDrained).toBe(false)
    known.resolve()
    await drained
  })

  it('knows when it has been heard by a registry that cannot tell of its callers', async () => {
    const { address, heard } = await registry()
    const membership = join([address])
    await membership.granted
    await membership.drain()
    expect(heard.at(-1)).toEqual({ said: 'heartbeat', instanceId: 'i1', state: DRAINING })
  })

  it('while the registry is away registers as draining when it is back', async () => {
    const first = await registry()
    const membership = join([first.address])
    await membership.granted
    await first.stop()
    await membership.drain()
    const second = await registry({ epoch: 'e2', address: first.address })
    await eventually(() => expect(second.heard[0]).toMatchObject({ said: 'registration', state: DRAINING }))
  })
})

describe('an instance that leaves', () => {
  it('proves that it holds the lease, and does not come back though one replica takes its time', async () => {
    const { address, heard, tokens } = await registry({ heartbeatMs: 5 })
    const membership = join([address, await silence()])
    await membership.granted
    await membership.leave()
    expect(heard.at(-1)).toMatchObject({ said: 'deregister' })
    expect(heard.filter(({ said }) => said === 'registration')).toHaveLength(1)
    expect(tokens).toEqual(['', 'e1-1'])
  })

  it.each(['a registry that is down', 'a registry that is silent'])(
    'does so within a second or so with %s',
    async (which) => {
      const target = which.endsWith('down') ? '127.0.0.1:1' : await silence()
      const membership = join([target])
      const begun = performance.now()
      await membership.drain()
      await membership.leave()
      expect(performance.now() - begun).toBeLessThan(1_500)
    },
  )
})

describe('an instance in a process of its own', () => {
  async function start(target: string) {
    const child = fork(fileURLToPath(new URL('registration.fixture.ts', import.meta.url)), [], {
      env: { PATH: process.env.PATH, REGISTRY_TARGET: target },
      execArgv: [],
    })
    releases.push(() => child.exitCode ?? child.kill('SIGKILL'))
    expect(await once(child, 'message')).toEqual(['granted', undefined])
    return child
  }

  it('keeps its lease while its main thread is blocked for longer than the lease, and tells of the lag', async () => {
    const { address, lags, expired } = await registry({ heartbeatMs: 400, ttlMs: 1_200 })
    const child = await start(address)
    child.send({ blockMs: 3_000 })
    await eventually(() => expect(lags.at(-1)).toBeGreaterThan(1_000))
    await once(child, 'message')
    await eventually(() => expect(lags.at(-1)).toBeLessThan(1_000))
    expect(expired).toEqual([])
  })

  it('loses its lease while the whole process is stopped', async () => {
    const { address, expired } = await registry({ heartbeatMs: 100, ttlMs: 300 })
    const child = await start(address)
    child.kill('SIGSTOP')
    await eventually(() => expect(expired).toEqual(['i1']))
  })

  it('is not held by its leases once it has left', async () => {
    const { address, heard } = await registry()
    const child = await start(address)
    child.send('leave')
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(heard.at(-1)).toMatchObject({ said: 'deregister' })
  })
})
