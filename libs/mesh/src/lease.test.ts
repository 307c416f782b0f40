import { InstanceState, MeshIncident, Registration } from '@docmesh/contracts/registry/v1/registry'
import { type ClientTransport, grpcJsClient } from '@docmesh/rpc'
import { eventually, tcpProxy } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { keepLease, type LeaseHolder, type LeaseOptions } from './lease.ts'
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

/** An instance that holds a lease at `target`, and what it is told. */
function hold(
  target: string,
  options: Partial<LeaseOptions> & { incarnation?: bigint; lagMs?: number } = {},
) {
  const { incarnation = 1n, lagMs = 0, ...rest } = options
  let registration = Registration.fromPartial({
    service: 'document',
    instanceId: 'i1',
    address: 'h:1',
    incarnation,
    state: SERVING,
  })
  const incidents: MeshIncident[] = []
  const listeners = new Set<() => void>()
  const wake = (): void => {
    for (const listener of listeners) listener()
  }
  const holder: LeaseHolder = {
    registration: () => registration,
    lagMs: () => lagMs,
    nextIncident: () => incidents.shift(),
    onNews(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
  const granted: string[] = []
  const confirmed: InstanceState[] = []
  const drains: (number | undefined)[] = []
  const replaced = Promise.withResolvers<Error>()
  const end = new AbortController()
  const kept = keepLease(
    {
      target,
      transport: grpcJsClient,
      log: () => {},
      holder,
      onGranted: (token) => granted.push(token),
      onConfirmed: (state) => confirmed.push(state),
      onDrain: (graceMs) => drains.push(graceMs),
      onReplaced: replaced.resolve,
      ...rest,
    },
    end.signal,
  )
  const leave = (): Promise<void> => {
    end.abort()
    return kept
  }
  releases.push(leave)
  return {
    granted,
    confirmed,
    drains,
    replaced: replaced.promise,
    kept,
    leave,
    enter(state: InstanceState): void {
      registration = { ...registration, state }
      wake()
    },
    report(...news: MeshIncident[]): void {
      incidents.push(...news)
      wake()
    },
  }
}

describe('a lease', () => {
  it('is renewed at the interval that was granted, from the first heartbeat on', async () => {
    const { address, heard } = await registry({ heartbeatMs: 20 })
    hold(address)
    await eventually(() => expect(heard.length).toBeGreaterThan(3), { timeoutMs: 2_000 })
    expect(heard.slice(0, 3).map(({ said }) => said)).toEqual(['registration', 'heartbeat', 'heartbeat'])
  })

  it('carries the lag of the event loop', async () => {
    const { address, lags } = await registry({ heartbeatMs: 20 })
    hold(address, { lagMs: 1_234.5 })
    await eventually(() => expect(lags[0]).toBe(1_234.5))
  })

  it('tells a change of state at once', async () => {
    const { address, heard } = await registry()
    const lease = hold(address)
    await eventually(() => expect(lease.granted).toHaveLength(1))
    lease.enter(DRAINING)
    await eventually(() => expect(lease.confirmed).toEqual([SERVING, DRAINING]))
    expect(heard.at(-1)).toEqual({ said: 'heartbeat', instanceId: 'i1', state: DRAINING })
  })

  it('is taken up again with its token after the stream broke', async () => {
    const { address, tokens } = await registry()
    const proxy = await tcpProxy(`tcp://${address}`)
    releases.push(() => proxy.close())
    const lease = hold(`127.0.0.1:${proxy.port}`)
    await eventually(() => expect(lease.granted).toEqual(['e1-1']))
    proxy.cut()
    proxy.restore()
    await eventually(() => expect(lease.granted).toEqual(['e1-1', 'e1-2']))
    expect(tokens).toEqual(['', 'e1-1'])
  })

  it('begins with the token that an earlier holder left', async () => {
    const { address, tokens } = await registry()
    hold(address, { token: 'of before' })
    await eventually(() => expect(tokens).toEqual(['of before']))
  })

  it('registers again when it is asked to, over the same stream', async () => {
    const { address, heard, tokens, command } = await registry()
    const lease = hold(address)
    await eventually(() => expect(lease.granted).toHaveLength(1))
    command('reregister')
    await eventually(() => expect(lease.granted).toEqual(['e1-1', 'e1-2']))
    expect(heard.map(({ said }) => said)).toEqual(['registration', 'registration'])
    expect(tokens).toEqual(['', 'e1-1'])
  })

  it('hands on that the registry asks for a drain, with its grace', async () => {
    const { address, command } = await registry()
    const lease = hold(address)
    await eventually(() => expect(lease.granted).toHaveLength(1))
    command('drain', 1_500)
    command('drain')
    await eventually(() => expect(lease.drains).toEqual([1_500, undefined]))
  })

  it('reports incidents at once, in order and once', async () => {
    const { address, incidents } = await registry()
    const lease = hold(address)
    await eventually(() => expect(lease.granted).toHaveLength(1))
    lease.report(
      MeshIncident.fromPartial({ service: 'a', reason: 'first' }),
      MeshIncident.fromPartial({ service: 'a', reason: 'second' }),
    )
    await eventually(() => expect(incidents).toHaveLength(2))
    lease.report(MeshIncident.fromPartial({ service: 'a', reason: 'third' }))
    await eventually(() =>
      expect(incidents.map(({ reason }) => reason)).toEqual(['first', 'second', 'third']),
    )
  })
})

describe('a lease that is refused', () => {
  it('because a newer process has the id is given up', async () => {
    const { address, heard } = await registry()
    const lease = hold(address, { incarnation: 0n })
    expect(await lease.replaced).toMatchObject({ reason: 'STALE_INCARNATION' })
    await lease.kept
    expect(heard).toHaveLength(1)
  })

  it('because another process holds the id is given up', async () => {
    const { address, heard } = await registry({ refusals: ['INSTANCE_EXISTS'] })
    const lease = hold(address)
    expect(await lease.replaced).toMatchObject({ reason: 'INSTANCE_EXISTS' })
    await lease.kept
    expect(heard).toHaveLength(1)
  })

  it('because of its token is asked for again until the old one has passed', async () => {
    const { address } = await registry({ refusals: ['LEASE_MISMATCH', 'LEASE_MISMATCH'] })
    const lease = hold(address)
    await eventually(() => expect(lease.granted).toEqual(['e1-1']))
  })

  it('is asked for again if the answer to an earlier registration was lost: the holder may be this process', async () => {
    const { address } = await registry({ refusals: ['INSTANCE_EXISTS', 'INSTANCE_EXISTS'] })
    let connections = 0
    const silent = await silence()
    const transport: ClientTransport = {
      connect: () => grpcJsClient.connect(connections++ === 0 ? silent : address),
    }
    const lease = hold(address, { transport, grantTimeoutMs: 200 })
    await eventually(() => expect(lease.granted).toEqual(['e1-1']))
  })
})

it('gives a replica up that does not grant the lease, and tries again', async () => {
  const connections: string[] = []
  const transport: ClientTransport = {
    connect(target) {
      connections.push(target)
      return grpcJsClient.connect(target)
    },
  }
  const target = await silence()
  hold(target, { transport, grantTimeoutMs: 20 })
  await eventually(() => expect(connections).toEqual([target, target]))
})
