import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { Code, rpcError, TransportError } from '@docmesh/rpc'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { endpointNamed } from './endpoint.fixture.ts'
import { hedgedMethods } from './hedge.ts'
import { type Step, scriptedMesh, settled } from './scripted-mesh.fixture.ts'

const WARM = 40

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_000_000 })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A mesh that has answered 40 calls in 10 ms each, and then does as the script says, counting from 0. */
async function warmMesh(
  script: (at: number) => Step,
  options: Omit<Parameters<typeof scriptedMesh>[0], 'script'> = {},
) {
  const mesh = scriptedMesh({ ...options, script: (_, at) => (at < WARM ? 10 : script(at - WARM)) })
  const hedging = mesh.channel.hedging(hedgedMethods(DocumentServiceDefinition, ['getDocument']))
  const client = () => mesh.client(undefined, hedging)
  for (let i = 0; i < WARM; i++) await settled(client().getDocument({}))
  const begunAt = Date.now()
  const sent = () =>
    mesh.arrivals.slice(WARM).map(({ id, attempt, atMs }) => ({ id, attempt, afterMs: atMs - begunAt }))
  return { ...mesh, client, plainClient: mesh.client, sent, afterMs: () => Date.now() - begunAt }
}

describe('a late call of a hedged method', () => {
  it('is sent to another endpoint too, after the usual time, and the first answer counts', async () => {
    const mesh = await warmMesh((at) => (at === 0 ? 'hangs' : 10))
    const { value } = await settled(mesh.client().getDocument({}))
    const [first, second] = mesh.sent()
    expect(second?.id).not.toBe(first?.id)
    expect(second?.attempt).toBe('1')
    expect(second?.afterMs).toBeGreaterThanOrEqual(10)
    expect(second?.afterMs).toBeLessThanOrEqual(12)
    expect(value?.document?.id).toBe(second?.id)
    expect(mesh.afterMs()).toBeLessThan(25)
    expect(mesh.decided().slice(-2)).toEqual([
      `1 least_cost ${first?.id} CANCELLED`,
      `2 hedge ${second?.id} OK`,
    ])
    expect(await mesh.counted('docmesh_mesh_hedges_total')).toEqual(['outcome="won" 1'])
  })

  it('cancels the copy when the first one answers', async () => {
    const mesh = await warmMesh((at) => (at === 0 ? 15 : 'hangs'))
    const { value } = await settled(mesh.client().getDocument({}))
    expect(value?.document?.id).toBe(mesh.sent()[0]?.id)
    expect(mesh.afterMs()).toBe(15)
    expect(await mesh.counted('docmesh_mesh_hedges_total')).toEqual(['outcome="lost" 1'])
  })

  it('leaves nothing behind at the endpoint that lost', async () => {
    const mesh = await warmMesh((at) => (at % 2 === 0 ? 'hangs' : 10))
    for (let i = 0; i < 20; i++) await settled(mesh.client().getDocument({}))
    expect(mesh.set.list().map(({ state, pending }) => [state, pending])).toEqual(
      Array.from({ length: 3 }, () => ['ready', 0]),
    )
    expect(mesh.breaker('read')).toBe('CLOSED')
  })

  it('waits for the other copy when one fails', async () => {
    const failure = new TransportError(Code.UNAVAILABLE, 'x')
    const copyFails = await warmMesh((at) => (at === 0 ? 30 : failure))
    expect((await settled(copyFails.client().getDocument({}))).value?.document?.id).toBe(
      copyFails.sent()[0]?.id,
    )
    expect(copyFails.sent()).toHaveLength(2)
  })

  it('does not wait when one says what the other would say too', async () => {
    const mesh = await warmMesh((at) => (at === 0 ? 'hangs' : rpcError('DOCUMENT_NOT_FOUND', 'x')))
    expect((await settled(mesh.client().getDocument({}))).error).toMatchObject({
      reason: 'DOCUMENT_NOT_FOUND',
    })
    expect(mesh.afterMs()).toBeLessThan(15)
  })

  it('ends with both copies when the caller leaves', async () => {
    const leave = new AbortController()
    const mesh = await warmMesh(() => 'hangs')
    const call = settled(mesh.client().getDocument({}, { signal: leave.signal, timeoutMs: 60_000 }))
    setTimeout(() => leave.abort(), 50)
    expect((await call).error).toMatchObject({ code: Code.CANCELLED })
    expect([mesh.sent().length, mesh.afterMs()]).toEqual([2, 50])
  })
})

describe('there is no second copy', () => {
  it('before enough is known of the method', async () => {
    const mesh = scriptedMesh({ script: () => 'hangs' })
    const client = mesh.client(undefined, mesh.channel.hedging(new Set(['GetDocument'])))
    await settled(client.getDocument({}))
    expect(mesh.arrivals).toHaveLength(1)
  })

  it('for a client that did not ask for it', async () => {
    const mesh = await warmMesh(() => 1_000)
    await settled(mesh.plainClient().getDocument({}))
    expect(mesh.sent()).toHaveLength(1)
  })

  it('when there is no other endpoint', async () => {
    const mesh = await warmMesh(() => 1_000, { endpoints: [endpointNamed('a')] })
    await settled(mesh.client().getDocument({}))
    expect(mesh.sent()).toHaveLength(1)
    expect(mesh.set.list()[0]?.pending).toBe(0)
  })

  it('when the first one fails before it is late: then it is repeated', async () => {
    const mesh = await warmMesh((at) => (at === 0 ? new TransportError(Code.UNAVAILABLE, 'x') : 'ok'))
    await settled(mesh.client().getDocument({}))
    expect(mesh.sent().map(({ afterMs }) => afterMs)).toEqual([0, 25])
    expect(await mesh.counted('docmesh_mesh_hedges_total')).toEqual([])
  })

  it('when the budget of retries is spent', async () => {
    const mesh = await warmMesh(() => 1_000)
    const calls = Array.from({ length: 300 }, () => mesh.client().getDocument({}))
    await vi.advanceTimersByTimeAsync(2_000)
    await Promise.all(calls)
    const copies = mesh.sent().length - 300
    expect(copies).toBeGreaterThanOrEqual(100)
    expect(copies).toBeLessThanOrEqual(100 + 0.2 * 340)
    expect(await mesh.counted('docmesh_mesh_hedges_total')).toContain(`outcome="refused" ${300 - copies}`)
    expect(mesh.decided()).toContain('2 retry_denied_budget - -')
  })
})

describe('the choice of methods to hedge', () => {
  it('refuses one that must not be repeated, or is a stream', () => {
    for (const key of ['uploadDocument', 'downloadDocument'] as const)
      expect(() => hedgedMethods(DocumentServiceDefinition, [key])).toThrow(/cannot be hedged/)
  })
})
