import { Cluster } from '@docmesh/contracts/envoy/config/cluster/v3/cluster'
import { DiscoveryRequest } from '@docmesh/contracts/envoy/service/discovery/v3/discovery'
import { Code } from '@docmesh/rpc'
import { beforeEach, describe, expect, it } from 'vitest'
import { createCatalog } from './catalog.ts'
import { type Kind, kindOf, TYPE_URLS } from './kinds.ts'
import { member, nameIn, type ScriptedMesh, scriptedMesh } from './mesh.fixture.ts'
import type { Verdict } from './session.ts'
import { createSotwSession } from './sotw.ts'

const NODE = { id: 'n1', userAgentName: 'gRPC Node Pure JS' }
const WEIGHTS = [
  { version: '1.0.0', weight: 90 },
  { version: '2.0.0', weight: 10 },
]

let mesh: ScriptedMesh
let client: ReturnType<typeof connect>

/** A client of which the test says every message. */
function connect(catalog = createCatalog(mesh)) {
  const verdicts: Verdict[] = []
  const session = createSotwSession({
    now: () => new Date(0),
    onVerdict: (verdict) => verdicts.push(verdict),
  })
  const nonces = new Map<Kind, string>()
  return {
    session,
    verdicts,
    ask(
      kind: Kind,
      names: readonly string[],
      fields: Parameters<typeof DiscoveryRequest.fromPartial>[0] = {},
    ) {
      session.receive(
        DiscoveryRequest.fromPartial({
          typeUrl: TYPE_URLS[kind],
          resourceNames: [...names],
          responseNonce: nonces.get(kind) ?? '',
          ...fields,
        }),
      )
    },
    /** Everything that the server has to say now. */
    hear(): [Kind, string[]][] {
      const heard: [Kind, string[]][] = []
      for (;;) {
        const response = session.next(catalog.current())
        if (!response) return heard
        const kind = kindOf(response.typeUrl)
        if (!kind) throw new Error(response.typeUrl)
        nonces.set(kind, response.nonce)
        heard.push([kind, response.resources.map(({ value }) => nameIn(kind, value))])
      }
    },
  }
}

/** What a gRPC client asks for when it dials `xds:///document`. */
function dial(clusters = ['document']) {
  client.ask('listener', ['document'], { node: NODE })
  client.ask('route', ['document'])
  client.ask('cluster', clusters)
  client.ask('endpoint', clusters)
}

beforeEach(() => {
  mesh = scriptedMesh({
    members: [member('a'), member('b', { version: '2.0.0', address: '127.0.0.1:7402' })],
  })
  client = connect()
})

describe('a new name', () => {
  it('is answered, and nothing is sent twice', () => {
    client.ask('listener', ['document'], { node: NODE })
    expect(client.hear()).toEqual([['listener', ['document']]])
    expect(client.hear()).toEqual([])
    client.ask('listener', ['document']) // the acknowledgement
    expect(client.hear()).toEqual([])
  })

  it('is answered when it has been asked for, let go, and asked for again', () => {
    client.ask('endpoint', ['document'])
    client.hear()
    client.ask('endpoint', [])
    expect(client.hear()).toEqual([])
    client.ask('endpoint', ['document'])
    expect(client.hear()).toEqual([['endpoint', ['document']]])
  })

  it('of a cluster brings all clusters that are subscribed; of endpoints only those', () => {
    mesh.set({ policies: [{ service: 'document', weights: WEIGHTS }] })
    const kinds = ['cluster', 'endpoint'] as const
    for (const kind of kinds) client.ask(kind, ['document@1.0.0'])
    client.hear()
    for (const kind of kinds) client.ask(kind, ['document@1.0.0', 'document@2.0.0'])
    expect(client.hear()).toEqual([
      ['cluster', ['document@1.0.0', 'document@2.0.0']],
      ['endpoint', ['document@2.0.0']],
    ])
  })

  it('of a type that the mesh has nothing of is ignored', () => {
    client.ask('listener', ['x'], { typeUrl: 'type.googleapis.com/envoy.service.runtime.v3.Runtime' })
    expect(client.hear()).toEqual([])
  })
})

describe('a nonce', () => {
  it('that is stale drops its request, and the one after it is answered', () => {
    mesh.set({ policies: [{ service: 'document', weights: WEIGHTS }] })
    client.ask('cluster', ['document@1.0.0'], { node: NODE })
    client.hear()
    mesh.set({ members: [member('a'), member('c', { address: '127.0.0.1:7403' })] })
    client.hear()
    client.ask('cluster', ['document@1.0.0', 'document@2.0.0'], { responseNonce: '1' }) // before it read the second
    expect(client.hear()).toEqual([])
    client.ask('cluster', ['document@1.0.0', 'document@2.0.0'])
    expect(client.hear()).toEqual([['cluster', ['document@1.0.0', 'document@2.0.0']]])
  })

  it('counts an answer once, whatever else is asked for with it', () => {
    client.ask('listener', ['document'], { node: NODE })
    client.hear()
    client.ask('listener', ['document'])
    client.ask('listener', ['document'])
    expect(client.verdicts).toEqual([{ kind: 'listener', nodeId: 'n1', error: undefined }])
  })
})

describe('a refusal', () => {
  beforeEach(() => {
    client.ask('cluster', ['document'], { node: NODE })
    client.hear()
    client.ask('cluster', ['document'], { errorDetail: { code: 3, message: 'no such policy' } })
  })

  it('is told once, and what was refused is not sent again until it changes', () => {
    expect(client.verdicts).toEqual([{ kind: 'cluster', nodeId: 'n1', error: 'no such policy' }])
    mesh.set({ members: mesh.members().map((each) => ({ ...each, health: 'unhealthy' as const })) })
    expect(client.hear()).toEqual([])
    mesh.set({ members: [member('a')] })
    expect(client.hear()).toEqual([['cluster', ['document']]])
  })

  it('is remembered with its reason, of that client alone', () => {
    expect(client.session.subscriptions.get('cluster')?.held.get('document')).toMatchObject({
      state: 'nacked',
      error: 'no such policy',
    })
    const other = connect()
    other.ask('cluster', ['document'])
    expect(other.hear()).toEqual([['cluster', ['document']]])
  })
})

describe('a change', () => {
  it('goes to clusters, then endpoints, then listeners, then routes', () => {
    dial()
    client.hear()
    mesh.set({
      members: [
        member('a'),
        member('c', { address: '127.0.0.1:7403' }),
        member('d', { address: '127.0.0.1:7404' }),
      ],
      policies: [{ service: 'document', hash: { header: 'x' }, fault: { abortPercent: 1, abortCode: 14 } }],
    })
    expect(client.hear().map(([kind]) => kind)).toEqual(['cluster', 'endpoint', 'listener', 'route'])
  })

  it('of a cluster alone brings its endpoints again', () => {
    dial()
    client.hear()
    mesh.set({ policies: [{ service: 'document', hash: { header: 'x' } }] })
    expect(client.hear()).toEqual([
      ['cluster', ['document']],
      ['endpoint', ['document']],
      ['route', ['document']],
    ])
  })

  it('of endpoints alone brings nothing else', () => {
    dial()
    client.hear()
    mesh.set({ members: mesh.members().map((each) => ({ ...each, health: 'unhealthy' as const })) })
    expect(client.hear()).toEqual([['endpoint', ['document']]])
  })

  it('that came and went while the client did not read is not sent', () => {
    dial()
    client.hear()
    const before = mesh.members()
    mesh.set({ members: [] })
    mesh.set({ members: before })
    expect(client.hear()).toEqual([])
  })
})

describe('what is gone', () => {
  it('stays for a client that names it until it names it no more', () => {
    mesh.set({ policies: [{ service: 'document', weights: WEIGHTS }] })
    dial(['document', 'document@2.0.0'])
    client.hear()
    mesh.set({ members: [member('a')], policies: [] })
    expect(client.hear()).toEqual([
      ['cluster', ['document', 'document@2.0.0']],
      ['endpoint', ['document']],
      ['route', ['document']],
    ])
    client.ask('cluster', ['document'])
    mesh.set({ members: [member('a'), member('c', { address: '127.0.0.1:7403' }), member('d')] })
    expect(client.hear()[0]).toEqual(['cluster', ['document']])
  })

  it('is taken from a client of the wildcard after all that could refer to it', () => {
    mesh.set({ policies: [{ service: 'document', weights: WEIGHTS }] })
    client.ask('cluster', [], { node: NODE })
    client.ask('listener', [])
    client.ask('route', ['document'])
    expect(client.hear()).toEqual([
      ['cluster', ['document', 'document@1.0.0', 'document@2.0.0']],
      ['listener', ['document']],
      ['route', ['document']],
    ])
    mesh.set({ policies: [{ service: 'document', weights: [{ version: '2.0.0', weight: 100 }] }] })
    expect(client.hear()).toEqual([
      ['route', ['document']],
      ['cluster', ['document', 'document@2.0.0']],
    ])
  })
})

describe('the wildcard', () => {
  it('is empty names of a client that never named one, of listeners and clusters only', () => {
    for (const kind of ['cluster', 'listener', 'endpoint', 'route'] as const) client.ask(kind, [])
    expect(client.hear()).toEqual([
      ['cluster', ['document']],
      ['listener', ['document']],
    ])
    mesh.set({ members: [...mesh.members(), member('x', { service: 'analysis' })] })
    expect(client.hear()).toEqual([
      ['cluster', ['analysis', 'document']],
      ['listener', ['analysis', 'document']],
    ])
  })

  it('is answered when there is nothing', () => {
    mesh.set({ members: [] })
    client.ask('cluster', [])
    expect(client.hear()).toEqual([['cluster', []]])
  })

  it('is not meant by a client that names nothing any more', () => {
    client.ask('cluster', ['document'])
    client.hear()
    client.ask('cluster', [])
    mesh.set({ members: [member('a'), member('x', { service: 'analysis' })] })
    expect(client.hear()).toEqual([])
  })
})

describe('a name that nobody serves', () => {
  it('is answered at once as a service without endpoints, and gets them when they appear', () => {
    client.ask('listener', ['later'], { node: NODE })
    client.ask('route', ['later'])
    client.ask('cluster', ['later'])
    client.ask('endpoint', ['later'])
    expect(client.hear().map(([kind, names]) => `${kind} ${names}`)).toEqual([
      'cluster later',
      'endpoint later',
      'listener later',
      'route later',
    ])
    mesh.set({ members: [...mesh.members(), member('x', { service: 'later' })] })
    expect(client.hear()).toEqual([['endpoint', ['later']]])
  })

  it('is left out of clusters, and told of endpoints when it comes', () => {
    client.ask('cluster', ['nothing'], { node: NODE })
    client.ask('endpoint', ['document@9'])
    expect(client.hear()).toEqual([['cluster', []]])
    mesh.set({ policies: [{ service: 'document', weights: [{ version: '9', weight: 100 }] }] })
    expect(client.hear()).toEqual([['endpoint', ['document@9']]])
  })

  it('is what a service becomes whose last instance has left', () => {
    dial()
    client.hear()
    mesh.set({ members: [] })
    expect(client.hear()).toEqual([
      ['cluster', ['document']],
      ['endpoint', ['document']],
    ])
  })
})

describe('while the registry is young', () => {
  beforeEach(() => mesh.set({ settled: false, members: [member('a')] }))

  it('a client that had a state keeps it', () => {
    client.ask('listener', ['document'], { node: NODE, versionInfo: 'of before' })
    client.ask('endpoint', ['document'], { versionInfo: 'of before' })
    expect(client.hear()).toEqual([])
    mesh.set({ settled: true })
    expect(client.hear()).toEqual([
      ['endpoint', ['document']],
      ['listener', ['document']],
    ])
  })

  it('a new client gets what there is, and is not told that something does not exist', () => {
    client.ask('listener', ['document'], { node: NODE })
    client.ask('cluster', ['later'])
    expect(client.hear()).toEqual([['listener', ['document']]])
    mesh.set({ settled: true })
    expect(client.hear()).toEqual([['cluster', []]])
  })
})

describe('while the policies have not been read', () => {
  beforeEach(() => {
    mesh.set({ policiesPending: true })
    const versionInfo = 'of before'
    client.ask('listener', ['document'], { node: NODE, versionInfo })
    client.ask('route', ['document'], { versionInfo })
    client.ask('cluster', ['document', 'document@2.0.0'], { versionInfo })
    client.ask('endpoint', ['document', 'document@2.0.0'], { versionInfo })
  })

  it('a client that had a state hears of instances, and keeps what the policies have made of it', () => {
    expect(client.hear()).toEqual([['endpoint', ['document', 'document@2.0.0']]])
    mesh.set({ members: [member('a')] })
    expect(client.hear()).toEqual([['endpoint', ['document']]])
    mesh.set({ policiesPending: false, policies: [{ service: 'document', weights: WEIGHTS }] })
    expect(client.hear()).toEqual([
      ['cluster', ['document', 'document@2.0.0']],
      ['endpoint', ['document@2.0.0']],
      ['listener', ['document']],
      ['route', ['document']],
    ])
  })

  it('such a client hears nothing before the instances had time to register again', () => {
    mesh.set({ settled: false })
    expect(client.hear()).toEqual([])
  })
})

describe('a client that a hash ring would crash', () => {
  it.each([
    ['C-core 29.0.0 Python 1.51.1', 0],
    ['C-core 30.0.0', 2],
    ['1.14.1', 2],
  ])('%s gets load-balancing policy %i', (value, policy) => {
    mesh.set({ policies: [{ service: 'document', hash: { header: 'x' } }] })
    const userAgentVersionType = { $case: 'userAgentVersion', value } as const
    client.ask('cluster', ['document'], { node: { id: 'py', userAgentVersionType } })
    const response = client.session.next(createCatalog(mesh).current())
    expect(Cluster.decode(response?.resources[0]?.value ?? new Uint8Array()).lbPolicy).toBe(policy)
    expect(client.hear()).toEqual([])
  })
})

describe('a client that asks for too much', () => {
  it.each([[Array.from({ length: 1_001 }, (_, at) => `s${at}`)], [['s'.repeat(513)]]])(
    'is refused',
    (names) => {
      expect(() => client.ask('endpoint', names)).toThrow(
        expect.objectContaining({ code: Code.INVALID_ARGUMENT, reason: 'INVALID_REQUEST' }),
      )
    },
  )

  it('may name a thousand, again and again', () => {
    const names = Array.from({ length: 1_000 }, (_, at) => `s${at}`)
    client.ask('endpoint', names)
    client.ask('endpoint', names)
    expect(client.session.subscriptions.get('endpoint')?.names.size).toBe(1_000)
  })

  it('is known by no more of its name than a name can have', () => {
    client.ask('endpoint', [], { node: { id: 'x'.repeat(10_000) } })
    expect(client.session.node()?.id).toHaveLength(256)
  })
})
