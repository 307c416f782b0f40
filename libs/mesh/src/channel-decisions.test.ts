import { Code, rpcError, TransportError } from '@docmesh/rpc'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { endpointNamed } from './endpoint.fixture.ts'
import { scriptedMesh, settled } from './scripted-mesh.fixture.ts'

const unavailable = (metadata = {}) => new TransportError(Code.UNAVAILABLE, 'going away', metadata)
const neverAgain = () => unavailable({ 'grpc-retry-pushback-ms': '-1' })
const refused = () => new TransportError(Code.UNAVAILABLE, 'x', {}, { connectionFailed: true, notSent: true })
const broken = () => rpcError('INTERNAL', 'broken')

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_000_000 })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a service that is at its limit', () => {
  it('whose endpoints have all the calls they may have gets no more, and none is repeated', async () => {
    const mesh = scriptedMesh({ endpoints: [endpointNamed('a')], script: () => 1_000, maxPending: 2 })
    const calls = [mesh.client().getDocument({}), mesh.client().getDocument({})]
    await expect(mesh.client().getDocument({})).rejects.toMatchObject({
      code: Code.RESOURCE_EXHAUSTED,
      reason: 'OVERLOADED',
    })
    await vi.advanceTimersByTimeAsync(1_000)
    await Promise.all(calls)
    expect(mesh.arrivals).toHaveLength(2)
    expect(await mesh.counted('docmesh_mesh_refused_total')).toEqual(['reason="saturated" 1'])
  })

  it('and refuses most calls is asked less', async () => {
    const mesh = scriptedMesh({ script: () => rpcError('OVERLOADED', 'x') })
    for (let i = 0; i < 30; i++) await settled(mesh.client('none').updateDocument({}))
    expect(mesh.arrivals.length).toBeLessThan(20)
    expect((await settled(mesh.client('none').updateDocument({}))).error).toMatchObject({
      code: Code.UNAVAILABLE,
      reason: 'THROTTLED',
    })
    expect(mesh.breaker('write')).toBe('CLOSED')
  })

  it('gets a burst after a quiet time all the same', async () => {
    const mesh = scriptedMesh({ script: () => 10 })
    const calls = Array.from({ length: 200 }, () => mesh.client().getDocument({}))
    await vi.advanceTimersByTimeAsync(10)
    expect(await Promise.all(calls)).toHaveLength(200)
  })
})

describe('the log of decisions', () => {
  it('tells of each attempt, its endpoint and the one that lost', async () => {
    const { client, channel, arrivals } = scriptedMesh({
      script: (_, at) => (at === 0 ? unavailable() : 'ok'),
    })
    await settled(client().getDocument({}))
    const [second, first] = channel.decisions(10)
    expect(first).toMatchObject({
      at: new Date(1_000_000),
      service: 'document',
      method: 'docmesh.document.v1.DocumentService/GetDocument',
      attempt: 1,
      reason: 'least_cost',
      picked: arrivals[0]?.id,
      code: 'UNAVAILABLE',
      durationMs: 0,
    })
    expect(first?.lost).toMatch(/^[abc]$/)
    expect(first?.lost).not.toBe(first?.picked)
    expect(second).toMatchObject({ attempt: 2, picked: arrivals[1]?.id, code: 'OK' })
  })

  it('tells of an attempt that is under way', async () => {
    const { client, decided } = scriptedMesh({ endpoints: [endpointNamed('a')], script: () => 100 })
    const call = client().getDocument({})
    await vi.advanceTimersByTimeAsync(50)
    expect(decided()).toEqual(['1 only a -'])
    await settled(call)
    expect(decided()).toEqual(['1 only a OK'])
  })

  it.each([
    ['it must not be repeated', 'none', unavailable(), {}, 'not_idempotent'],
    ['the server asked for none', 'safe', neverAgain(), {}, 'pushback'],
    ['it would begin after the deadline', 'safe', unavailable(), { timeoutMs: 20 }, 'deadline'],
  ] as const)('tells why a call was not sent again: %s', async (_, idempotency, step, options, why) => {
    const { client, decided } = scriptedMesh({ script: () => step })
    await settled(client(idempotency).getDocument({}, options))
    expect(decided()).toHaveLength(2)
    expect(decided()[1]).toBe(`2 retry_denied_${why} - UNAVAILABLE`)
  })

  it('tells that the budget of retries was spent', async () => {
    const { client, decided } = scriptedMesh({ script: refused })
    for (let i = 0; i < 150; i++) await settled(client().getDocument({}))
    expect(decided().at(-1)).toMatch(/retry_denied_budget - UNAVAILABLE$/)
  })

  it('tells nothing of repetitions that could not help', async () => {
    const { client, decided } = scriptedMesh({ endpoints: [endpointNamed('a')], script: broken })
    await settled(client().getDocument({}))
    expect(decided()).toEqual(['1 only a INTERNAL'])
  })

  it('tells of calls that nobody was asked', async () => {
    const open = scriptedMesh({ script: broken })
    for (let i = 0; i < 21; i++) await settled(open.client().getDocument({}))
    expect(open.decided().at(-1)).toBe('1 circuit_open - UNAVAILABLE')
    expect(await open.counted('docmesh_mesh_refused_total')).toEqual(['reason="circuit_open" 1'])
    const empty = scriptedMesh({ endpoints: [], script: broken })
    await settled(empty.client().getDocument({}))
    expect(empty.decided().slice(0, 1)).toEqual(['1 no_endpoint - UNAVAILABLE'])
    expect(await empty.counted('docmesh_mesh_refused_total')).toEqual(['reason="no_endpoint" 3'])
  })
})
