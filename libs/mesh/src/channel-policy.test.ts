import { Code, RpcError, rpcError, TransportError } from '@docmesh/rpc'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { endpointNamed } from './endpoint.fixture.ts'
import { type Step, scriptedMesh, settled } from './scripted-mesh.fixture.ts'

const unavailable = () => new TransportError(Code.UNAVAILABLE, 'going away')
const twoVersions = ['a', 'b', 'c', 'd'].map((id) =>
  endpointNamed(id, { version: id === 'a' || id === 'b' ? '1.0.0' : '2.0.0' }),
)
const toVersion = (version: string) => ({ weights: [{ version, weight: 100 }] })
const always = (step: Step) => () => step

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_000_000 })
})
afterEach(() => {
  vi.useRealTimers()
})

type Mesh = ReturnType<typeof scriptedMesh>
const reached = ({ arrivals }: Mesh): string[] => [...new Set(arrivals.map(({ id }) => id))].toSorted()

describe('a call with a policy', () => {
  it('goes to the version that the policy chose, and to another one as soon as the policy changes', async () => {
    const mesh = scriptedMesh({ endpoints: twoVersions, script: always('ok'), policy: toVersion('2.0.0') })
    for (let i = 0; i < 10; i++) await settled(mesh.client().getDocument({}))
    expect(mesh.arrivals.map(({ id }) => id).filter((id) => id === 'a' || id === 'b')).toEqual([])
    mesh.usePolicy(toVersion('1.0.0'))
    mesh.arrivals.length = 0
    for (let i = 0; i < 10; i++) await settled(mesh.client().getDocument({}))
    expect(mesh.arrivals.map(({ id }) => id).filter((id) => id === 'c' || id === 'd')).toEqual([])
    expect(mesh.arrivals).toHaveLength(10)
  })

  it('is repeated on its version, and on another one when each of its instances was tried', async () => {
    const mesh = scriptedMesh({
      endpoints: twoVersions,
      script: (id) => (id === 'c' || id === 'd' ? unavailable() : 'ok'),
      policy: toVersion('2.0.0'),
    })
    expect((await settled(mesh.client().getDocument({}))).error).toBeUndefined()
    expect(
      mesh.arrivals
        .slice(0, 2)
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(['c', 'd'])
    expect(['a', 'b']).toContain(mesh.arrivals[2]?.id)
    expect(mesh.decided().at(-1)).toBe(`3 version_missing ${mesh.arrivals[2]?.id} OK`)
  })

  it('goes to any version when nobody runs the one that was chosen', async () => {
    const mesh = scriptedMesh({ script: always('ok'), policy: toVersion('9.9.9') })
    expect((await settled(mesh.client().getDocument({}))).error).toBeUndefined()
    expect(mesh.channel.decisions(1)).toMatchObject([{ reason: 'version_missing', version: '9.9.9' }])
  })

  it('with a hash header always meets the same instance, while it is there', async () => {
    const mesh = scriptedMesh({ script: always('ok'), policy: { hash: { header: 'user' } } })
    const metadata = { user: 'ann' }
    for (let i = 0; i < 20; i++) await settled(mesh.client().getDocument({}, { metadata }))
    const [id = ''] = reached(mesh)
    expect(reached(mesh)).toEqual([id])
    mesh.set.update(['a', 'b', 'c'].filter((each) => each !== id).map((each) => endpointNamed(each)))
    for (let i = 0; i < 20; i++) await settled(mesh.client().getDocument({}, { metadata }))
    expect(reached(mesh)).toHaveLength(2)
  })
})

describe('an injected delay', () => {
  const policy = { fault: { delayPercent: 100, delay: { seconds: 2n, nanos: 0 } } }

  it('comes before the call, once', async () => {
    const mesh = scriptedMesh({ script: (_, at) => (at === 0 ? unavailable() : 'ok'), policy })
    expect((await settled(mesh.client().getDocument({}))).error).toBeUndefined()
    expect(mesh.arrivals.map(({ atMs }) => atMs - 1_000_000)).toEqual([2_000, 2_025])
  })

  it('ends with the deadline, and nothing is sent then', async () => {
    const mesh = scriptedMesh({ script: always('ok'), policy })
    const over = settled(
      mesh
        .client()
        .getDocument({}, { timeoutMs: 300 })
        .finally(() => Date.now()),
    )
    expect((await over).error).toMatchObject({ reason: 'DEADLINE_EXCEEDED' })
    expect([Date.now() - 1_000_000, mesh.arrivals.length]).toEqual([300, 0])
  })

  it('ends when the caller leaves', async () => {
    const leave = new AbortController()
    const mesh = scriptedMesh({ script: always('ok'), policy })
    const over = settled(mesh.client().getDocument({}, { signal: leave.signal }))
    leave.abort()
    expect((await over).error).toMatchObject({ code: Code.CANCELLED })
    expect([Date.now() - 1_000_000, mesh.arrivals.length]).toEqual([0, 0])
  })
})

describe('an injected failure', () => {
  const policy = { fault: { abortPercent: 100, abortCode: Code.UNAVAILABLE } }

  it('looks like a failure of the service, is not repeated, and reaches nobody', async () => {
    const mesh = scriptedMesh({ script: always('ok'), policy })
    const { error } = await settled(mesh.client().getDocument({}))
    expect(error).toBeInstanceOf(RpcError)
    expect(error).toMatchObject({ code: Code.UNAVAILABLE, reason: 'FAULT_INJECTED', remote: {} })
    expect(mesh.arrivals).toEqual([])
    expect(mesh.decided()).toEqual(['1 fault_injected - UNAVAILABLE'])
    expect(await mesh.counted('docmesh_mesh_refused_total')).toEqual(['reason="fault_injected" 1'])
  })

  it('is no evidence against the service', async () => {
    const mesh = scriptedMesh({ script: always('ok'), policy })
    for (let i = 0; i < 50; i++) await settled(mesh.client().getDocument({}))
    mesh.usePolicy({})
    expect((await settled(mesh.client().getDocument({}))).error).toBeUndefined()
    expect(mesh.set.list().every(({ state }) => state === 'ready')).toBe(true)
  })
})

describe('a mirror', () => {
  const policy = { ...toVersion('1.0.0'), mirror: { version: '2.0.0', percent: 100 } }
  const isCopy = ({ metadata }: Mesh['arrivals'][number]): boolean => metadata['docmesh-mirrored'] === '1'

  it('gets a copy that says so; the caller sees nothing of its failure', async () => {
    const script = (id: string) => (id === 'c' || id === 'd' ? rpcError('INTERNAL', 'x') : 'ok')
    const mesh = scriptedMesh({ endpoints: twoVersions, script, policy })
    const { value } = await settled(mesh.client().getDocument({}))
    expect(['a', 'b']).toContain(value?.document?.id)
    const copies = mesh.arrivals.filter(isCopy)
    expect(copies.every(({ id }) => id === 'c' || id === 'd')).toBe(true)
    expect([mesh.arrivals.length, copies.length]).toEqual([2, 1])
    expect(await mesh.counted('docmesh_mesh_mirrored_total')).toEqual([' 1'])
  })

  it('whose failures are many leaves the breaker alone', async () => {
    const script = (id: string) => (id === 'c' || id === 'd' ? rpcError('INTERNAL', 'x') : 'ok')
    const mesh = scriptedMesh({ endpoints: twoVersions, script, policy })
    for (let i = 0; i < 60; i++) expect((await settled(mesh.client().getDocument({}))).error).toBeUndefined()
    expect(mesh.breaker('read')).toBe('CLOSED')
  })

  it('that hangs holds 16 copies and no call', async () => {
    const script = (id: string) => (id === 'c' || id === 'd' ? 'hangs' : 'ok')
    const mesh = scriptedMesh({ endpoints: twoVersions, script, policy })
    const answers = Promise.all(Array.from({ length: 40 }, () => mesh.client().getDocument({})))
    await vi.advanceTimersByTimeAsync(0)
    expect(await answers).toHaveLength(40)
    expect(mesh.arrivals.filter(isCopy)).toHaveLength(16)
    await vi.advanceTimersByTimeAsync(5_000)
    await mesh.client().getDocument({})
    expect(mesh.arrivals.filter(isCopy)).toHaveLength(17)
  })

  it('gets no copy of what must not be done twice, and none when nobody runs its version', async () => {
    const mesh = scriptedMesh({ endpoints: twoVersions, script: always('ok'), policy })
    await settled(mesh.client('none').updateDocument({}))
    mesh.usePolicy({ mirror: { version: '9.9.9', percent: 100 } })
    await settled(mesh.client().getDocument({}))
    expect(mesh.arrivals.filter(isCopy)).toEqual([])
  })
})
