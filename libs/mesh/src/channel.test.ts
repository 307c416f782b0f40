import { Code, rpcError, TransportError } from '@docmesh/rpc'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { endpointNamed } from './endpoint.fixture.ts'
import { type Step, scriptedMesh, settled } from './scripted-mesh.fixture.ts'

const unavailable = () => new TransportError(Code.UNAVAILABLE, 'going away')
const dropped = () => new TransportError(Code.UNAVAILABLE, 'x', {}, { connectionFailed: true })
const refused = () => new TransportError(Code.UNAVAILABLE, 'x', {}, { connectionFailed: true, notSent: true })
const pushback = (ms: number) =>
  new TransportError(Code.UNAVAILABLE, 'x', { 'grpc-retry-pushback-ms': String(ms) })
const broken = () => rpcError('INTERNAL', 'broken')

const firstFails = (step: Step) => (_: string, at: number) => (at === 0 ? step : 'ok')

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_000_000 })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a method that may be repeated', () => {
  it('is sent to another endpoint when the first is not available, and says that it is a repetition', async () => {
    const { client, arrivals } = scriptedMesh({ script: firstFails(unavailable()) })
    const { value } = await settled(client().getDocument({}))
    expect(arrivals.map(({ attempt }) => attempt)).toEqual([undefined, '1'])
    expect(arrivals[1]?.id).not.toBe(arrivals[0]?.id)
    expect(value?.document?.id).toBe(arrivals[1]?.id)
  })

  it('is sent three times at most, each time to another endpoint, with growing delays', async () => {
    const { client, arrivals } = scriptedMesh({ script: unavailable })
    expect((await settled(client().getDocument({}))).error).toMatchObject({ code: Code.UNAVAILABLE })
    expect(arrivals.map(({ id }) => id).toSorted()).toEqual(['a', 'b', 'c'])
    expect(arrivals.map(({ atMs }) => atMs - 1_000_000)).toEqual([0, 25, 75])
  })

  it.each(['OVERLOADED', 'SHUTTING_DOWN', 'DEPENDENCY_UNAVAILABLE', 'DATABASE_UNAVAILABLE'] as const)(
    'is repeated after %s',
    async (reason) => {
      const { client, arrivals } = scriptedMesh({ script: firstFails(rpcError(reason, 'x')) })
      expect((await settled(client().getDocument({}))).error).toBeUndefined()
      expect(arrivals).toHaveLength(2)
    },
  )

  it.each(['DOCUMENT_NOT_FOUND', 'INTERNAL', 'DEADLINE_EXCEEDED', 'CIRCUIT_OPEN'] as const)(
    'is not repeated after %s',
    async (reason) => {
      const { client, arrivals } = scriptedMesh({ script: firstFails(rpcError(reason, 'x')) })
      expect((await settled(client().getDocument({}))).error).toMatchObject({ reason })
      expect(arrivals).toHaveLength(1)
    },
  )

  it('is sent again when its connection broke on the way', async () => {
    const { client, arrivals } = scriptedMesh({ script: firstFails(dropped()) })
    expect((await settled(client().getDocument({}))).error).toBeUndefined()
    expect(arrivals.map(({ atMs }) => atMs - 1_000_000)).toEqual([0, 25])
  })

  it('is sent to the same endpoint again when there is no other', async () => {
    const { client, arrivals } = scriptedMesh({
      endpoints: [endpointNamed('a')],
      script: firstFails(unavailable()),
    })
    expect((await settled(client().getDocument({}))).value?.document?.id).toBe('a')
    expect(arrivals.map(({ id }) => id)).toEqual(['a', 'a'])
  })
})

describe('a method that must not be repeated', () => {
  it.each([
    ['the server was not available', unavailable()],
    ['the connection broke on the way', dropped()],
    ['the server found no endpoint of a service behind it', rpcError('NO_ENDPOINT', 'x')],
    ['the server is ending', rpcError('SHUTTING_DOWN', 'x')],
  ])('is sent once if %s', async (_, step) => {
    const { client, arrivals } = scriptedMesh({ script: firstFails(step) })
    expect((await settled(client('none').updateDocument({}))).error).toMatchObject({ code: Code.UNAVAILABLE })
    expect(arrivals).toHaveLength(1)
  })

  it('is sent again at once if it certainly never left', async () => {
    const { client, arrivals } = scriptedMesh({ script: firstFails(refused()) })
    expect((await settled(client('none').updateDocument({}))).error).toBeUndefined()
    expect(arrivals.map(({ atMs }) => atMs - 1_000_000)).toEqual([0, 0])
  })

  it('whose requests are a stream is not sent again even then: the stream has been read', async () => {
    const { client, arrivals } = scriptedMesh({ script: firstFails(refused()) })
    async function* parts() {}
    expect((await settled(client('idempotent').uploadDocument(parts()))).error).toMatchObject({
      reason: 'NO_ENDPOINT',
    })
    expect(arrivals).toHaveLength(1)
  })
})

describe('the next attempt', () => {
  it('waits as long as the server asked', async () => {
    const { client, arrivals } = scriptedMesh({ script: firstFails(pushback(700)) })
    await settled(client().getDocument({}))
    expect(arrivals.map(({ atMs }) => atMs - 1_000_000)).toEqual([0, 700])
  })

  it.each(['safe', 'none'] as const)(
    'does not come when the server asked for none (%s)',
    async (idempotency) => {
      const { client, arrivals } = scriptedMesh({ script: firstFails(pushback(-1)) })
      expect((await settled(client(idempotency).getDocument({}))).error).toMatchObject({
        code: Code.UNAVAILABLE,
      })
      expect(arrivals).toHaveLength(1)
    },
  )

  it('does not come when it would begin after the deadline', async () => {
    const { client, arrivals } = scriptedMesh({ script: unavailable })
    await settled(client().getDocument({}, { timeoutMs: 25 }))
    expect(arrivals).toHaveLength(1)
    await settled(client().getDocument({}, { timeoutMs: 60 }))
    expect(arrivals).toHaveLength(3)
  })

  it('does not come when the caller has left', async () => {
    const leave = new AbortController()
    const { client, arrivals } = scriptedMesh({ script: unavailable })
    const call = settled(client().getDocument({}, { signal: leave.signal }))
    leave.abort()
    expect((await call).error).toBeDefined()
    expect(arrivals).toHaveLength(1)
  })

  it('does not come when the budget of retries is spent', async () => {
    const { client, arrivals, metrics } = scriptedMesh({ script: refused })
    await vi.advanceTimersByTimeAsync(0)
    for (let i = 0; i < 150; i++) await settled(client().getDocument({}))
    const retries = arrivals.length - 150
    expect(retries).toBeGreaterThan(100)
    expect(retries).toBeLessThanOrEqual(100 + 0.2 * 150)
    expect((await metrics.render()).body).toMatch(
      /retries_total\{service="document",outcome="refused"\} [1-9]/,
    )
  })
})

describe('a call whose time is up before it is sent', () => {
  it.each([0, -1_000])('is not sent, and held against nobody (%i ms)', async (timeoutMs) => {
    const { client, set, arrivals, breaker } = scriptedMesh({ script: () => 'hangs' })
    for (let i = 0; i < 30; i++)
      expect((await settled(client().getDocument({}, { timeoutMs }))).error).toMatchObject({
        reason: 'DEADLINE_EXCEEDED',
      })
    expect(set.list().map(({ state }) => state)).toEqual(['ready', 'ready', 'ready'])
    expect(breaker('read') ?? 'CLOSED').toBe('CLOSED')
    expect(arrivals).toEqual([])
  })
})

describe('the circuit breaker', () => {
  const failReads = async ({ client }: ReturnType<typeof scriptedMesh>, times = 20) => {
    for (let i = 0; i < times; i++) await settled(client().getDocument({}))
  }

  it('opens after 20 calls that failed, and then answers by itself', async () => {
    const mesh = scriptedMesh({ script: broken })
    await failReads(mesh)
    expect(mesh.arrivals).toHaveLength(20)
    const { error } = await settled(mesh.client().getDocument({}))
    expect(error).toMatchObject({
      code: Code.UNAVAILABLE,
      reason: 'CIRCUIT_OPEN',
      options: { retryAfterMs: 10_000 },
    })
    expect(mesh.arrivals).toHaveLength(20)
  })

  it('of reads leaves writes and streams alone', async () => {
    const mesh = scriptedMesh({ script: (_, at) => (at < 20 ? broken() : 'ok') })
    await failReads(mesh)
    expect(mesh.breaker('read')).toBe('OPEN')
    expect((await settled(mesh.client().updateDocument({}))).error).toBeUndefined()
    expect((await settled(Array.fromAsync(mesh.client().downloadDocument({})))).error).toBeUndefined()
  })

  it('closes again after three calls that succeeded', async () => {
    const mesh = scriptedMesh({ script: (_, at) => (at < 20 ? broken() : 'ok') })
    await failReads(mesh)
    await vi.advanceTimersByTimeAsync(10_000)
    for (let i = 0; i < 3; i++) expect((await settled(mesh.client().getDocument({}))).error).toBeUndefined()
    expect(mesh.breaker('read')).toBe('CLOSED')
  })

  it('stays closed however often the caller asked for what is not there', async () => {
    const mesh = scriptedMesh({ script: () => rpcError('DOCUMENT_NOT_FOUND', 'x') })
    await failReads(mesh, 100)
    expect(mesh.breaker('read')).toBe('CLOSED')
    expect(mesh.arrivals).toHaveLength(100)
  })

  it('stays closed on broken connections while there is an endpoint to choose', async () => {
    const mesh = scriptedMesh({ script: dropped })
    await failReads(mesh, 60)
    expect(mesh.breaker('read')).toBe('CLOSED')
  })

  it('opens on broken connections when the registry too says that no endpoint is well', async () => {
    const mesh = scriptedMesh({ endpoints: [endpointNamed('a', { healthy: false })], script: dropped })
    await failReads(mesh, 20)
    expect(mesh.breaker('read')).toBe('OPEN')
  })

  it('takes no notice of a call that its caller cancelled', async () => {
    const mesh = scriptedMesh({ script: () => new TransportError(Code.CANCELLED, 'x') })
    await failReads(mesh, 100)
    expect(mesh.breaker('read')).toBe('CLOSED')
    expect(mesh.set.list().map(({ state, pending }) => [state, pending])).toEqual(
      Array.from({ length: 3 }, () => ['ready', 0]),
    )
  })
})

describe('a streamed answer', () => {
  it('is asked of another endpoint as long as nothing of it has come', async () => {
    const { client, arrivals } = scriptedMesh({ script: firstFails(rpcError('SHUTTING_DOWN', 'x')) })
    const { value } = await settled(Array.fromAsync(client().downloadDocument({})))
    expect(value).toHaveLength(2)
    expect(arrivals).toHaveLength(2)
  })

  it('that breaks after its first message is for the caller to begin again', async () => {
    const { client, arrivals } = scriptedMesh({ script: () => 'broken after one message' })
    const received: unknown[] = []
    const reading = async () => {
      for await (const message of client().downloadDocument({})) received.push(message)
    }
    expect((await settled(reading())).error).toMatchObject({ code: Code.INTERNAL })
    expect(received).toHaveLength(1)
    expect(arrivals).toHaveLength(1)
  })

  it('ends at the server when its reader leaves', async () => {
    const { client, arrivals, ended: over } = scriptedMesh({ script: () => 'ok' })
    for await (const _ of client().downloadDocument({})) break
    expect(over).toEqual(arrivals.map(({ id }) => id))
  })
})

describe('before the first state of the mesh is known', () => {
  it('a call waits for it', async () => {
    const synced = Promise.withResolvers<void>()
    const { client, set } = scriptedMesh({ endpoints: [], script: () => 'ok', synced: synced.promise })
    const call = client().getDocument({})
    await vi.advanceTimersByTimeAsync(3_000)
    set.update([endpointNamed('a')])
    synced.resolve()
    expect((await settled(call)).value?.document?.id).toBe('a')
  })

  it('a call waits 5 s or until its deadline, then says that there is no endpoint', async () => {
    const forever = new Promise<void>(() => {})
    const { client } = scriptedMesh({ endpoints: [], script: () => 'ok', synced: forever })
    for (const [timeoutMs, longest] of [
      [60_000, 5_200],
      [400, 400],
    ] as const) {
      const begun = Date.now()
      const call = client().getDocument({}, { timeoutMs })
      const over = call.catch((error) => ({ error, afterMs: Date.now() - begun }))
      await vi.runAllTimersAsync()
      expect(await over).toMatchObject({ error: { code: Code.UNAVAILABLE, reason: 'NO_ENDPOINT' } })
      const { afterMs } = (await over) as { afterMs: number }
      expect(afterMs).toBeLessThanOrEqual(longest)
      expect(afterMs).toBeGreaterThanOrEqual(Math.min(timeoutMs, 5_000))
    }
  })
})
