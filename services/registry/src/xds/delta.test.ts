import { DeltaDiscoveryRequest } from '@docmesh/contracts/envoy/service/discovery/v3/discovery'
import { Code } from '@docmesh/rpc'
import { beforeEach, describe, expect, it } from 'vitest'
import { createCatalog } from './catalog.ts'
import { createDeltaSession } from './delta.ts'
import { type Kind, kindOf, TYPE_URLS } from './kinds.ts'
import { member, type ScriptedMesh, scriptedMesh } from './mesh.fixture.ts'
import type { Verdict } from './session.ts'

let mesh: ScriptedMesh
let client: ReturnType<typeof connect>

/** A client of which the test says every message. */
function connect() {
  const catalog = createCatalog(mesh)
  const verdicts: Verdict[] = []
  const session = createDeltaSession({
    now: () => new Date(0),
    onVerdict: (verdict) => verdicts.push(verdict),
  })
  const nonces = new Map<Kind, string>()
  return {
    session,
    verdicts,
    version: (kind: Kind, name: string): string =>
      catalog.current().resources[kind].get(name)?.version ?? 'none',
    ask(kind: Kind, fields: Parameters<typeof DeltaDiscoveryRequest.fromPartial>[0] = {}) {
      session.receive(DeltaDiscoveryRequest.fromPartial({ typeUrl: TYPE_URLS[kind], ...fields }))
    },
    answer(kind: Kind, message?: string) {
      this.ask(kind, {
        responseNonce: nonces.get(kind) ?? '',
        ...(message ? { errorDetail: { code: 3, message } } : {}),
      })
    },
    /** Everything that the server has to say now: `+` for what is sent, `-` for what is gone. */
    hear(): string[] {
      const heard: string[] = []
      for (;;) {
        const response = session.next(catalog.current())
        if (!response) return heard
        const kind = kindOf(response.typeUrl)
        if (!kind) throw new Error(response.typeUrl)
        nonces.set(kind, response.nonce)
        const parts = [
          ...response.resources.map(({ name }) => `+${name}`),
          ...response.removedResources.map((name) => `-${name}`),
        ]
        heard.push(`${kind} ${parts.join(' ')}`)
      }
    },
  }
}

const subscribe = (...resourceNamesSubscribe: string[]) => ({ resourceNamesSubscribe })
const unsubscribe = (...resourceNamesUnsubscribe: string[]) => ({ resourceNamesUnsubscribe })

beforeEach(() => {
  mesh = scriptedMesh({ members: [member('a'), member('x', { service: 'analysis' })] })
  client = connect()
})

describe('a subscription', () => {
  it('is answered with what is new in it alone', () => {
    client.ask('cluster', subscribe('document'))
    expect(client.hear()).toEqual(['cluster +document'])
    client.ask('cluster', subscribe('analysis'))
    expect(client.hear()).toEqual(['cluster +analysis'])
    expect(client.hear()).toEqual([])
  })

  it('is answered again when it is repeated', () => {
    client.ask('endpoint', subscribe('document'))
    client.hear()
    client.ask('endpoint', subscribe('document'))
    expect(client.hear()).toEqual(['endpoint +document'])
  })

  it('ends for the names that are given back', () => {
    client.ask('endpoint', subscribe('document', 'analysis'))
    client.hear()
    client.ask('endpoint', unsubscribe('document'))
    mesh.set({ members: [] })
    expect(client.hear()).toEqual(['endpoint -analysis'])
  })

  it('to everything is a first request without names, or a star; what it brings is forgotten when the star is given back', () => {
    client.ask('cluster')
    client.ask('listener', subscribe('*'))
    client.ask('endpoint')
    expect(client.hear()).toEqual(['cluster +analysis +document', 'listener +analysis +document'])
    client.ask('cluster', unsubscribe('*'))
    mesh.set({ members: [] })
    expect(client.hear()).toEqual(['listener -analysis -document'])
  })

  it('to everything is answered when there is nothing', () => {
    mesh.set({ members: [] })
    client.ask('cluster')
    expect(client.hear()).toEqual(['cluster '])
  })
})

describe('a name that does not exist', () => {
  it('is told as removed, once, and sent when it appears', () => {
    client.ask('listener', subscribe('later'))
    expect(client.hear()).toEqual(['listener -later'])
    mesh.set({ policies: [] })
    expect(client.hear()).toEqual([])
    mesh.set({ members: [member('l', { service: 'later' })] })
    expect(client.hear()).toEqual(['listener +later'])
  })
})

describe('a change', () => {
  const dial = () => {
    client.ask('listener', subscribe('document'))
    client.ask('route', subscribe('document'))
    client.ask('cluster', subscribe('document', 'document@1.0.0'))
    client.ask('endpoint', subscribe('document'))
  }

  it('goes to clusters, endpoints, listeners, routes, and what is gone comes last', () => {
    mesh.set({ policies: [{ service: 'document', weights: [{ version: '1.0.0', weight: 100 }] }] })
    dial()
    client.hear()
    mesh.set({
      members: [
        member('a'),
        member('b', { address: '127.0.0.1:7402' }),
        member('c', { address: '127.0.0.1:7403' }),
      ],
      policies: [{ service: 'document', hash: { header: 'x' }, fault: { abortPercent: 1, abortCode: 14 } }],
    })
    expect(client.hear()).toEqual([
      'cluster +document',
      'endpoint +document',
      'listener +document',
      'route +document',
      'cluster -document@1.0.0',
    ])
  })

  it('of a cluster brings its endpoints again', () => {
    dial()
    client.hear()
    mesh.set({ policies: [{ service: 'document', hash: { header: 'x' } }] })
    expect(client.hear()).toEqual(['cluster +document', 'endpoint +document', 'route +document'])
  })
})

describe('a client that comes back', () => {
  it('is sent what has changed, and told what is gone', () => {
    const initialResourceVersions = {
      document: client.version('cluster', 'document'),
      analysis: 'another',
      gone: 'v',
    }
    client.ask('cluster', { initialResourceVersions, ...subscribe('document', 'analysis', 'gone') })
    expect(client.hear()).toEqual(['cluster +analysis', 'cluster -gone'])
  })

  it('to a registry that is young keeps what it has until that is settled', () => {
    mesh.set({ settled: false, members: [] })
    client.ask('cluster', { initialResourceVersions: { document: 'v' } })
    expect(client.hear()).toEqual([])
    mesh.set({ settled: true, members: [member('a')] })
    expect(client.hear()).toEqual(['cluster +document'])
  })

  it('before the policies have been read hears of instances only', () => {
    mesh.set({ policiesPending: true })
    const before = { initialResourceVersions: { document: 'v' } }
    client.ask('listener', { ...before, ...subscribe('document') })
    client.ask('endpoint', {
      initialResourceVersions: { document: 'v', 'document@2': 'v' },
      ...subscribe('document', 'document@2'),
    })
    expect(client.hear()).toEqual(['endpoint +document'])
    mesh.set({ policiesPending: false })
    expect(client.hear()).toEqual(['listener +document', 'endpoint -document@2'])
  })

  it('with more than a mesh can have is refused', () => {
    const initialResourceVersions = Object.fromEntries(
      Array.from({ length: 10_001 }, (_, at) => [`s${at}`, 'v']),
    )
    expect(() => client.ask('cluster', { initialResourceVersions })).toThrow(
      expect.objectContaining({ code: Code.INVALID_ARGUMENT }),
    )
  })
})

describe('an answer', () => {
  it('accepts or refuses the last response, once', () => {
    client.ask('cluster', { ...subscribe('document'), node: { id: 'envoy-1' } })
    client.hear()
    client.answer('cluster', 'bad cluster')
    client.answer('cluster')
    expect(client.verdicts).toEqual([{ kind: 'cluster', nodeId: 'envoy-1', error: 'bad cluster' }])
    expect(client.session.subscriptions.get('cluster')?.held.get('document')?.state).toBe('nacked')
    expect(client.hear()).toEqual([])
  })

  it('is to the response that it names, also when another one was sent meanwhile', () => {
    client.ask('cluster', { ...subscribe('document'), node: { id: 'envoy-1' } })
    client.hear()
    client.ask('cluster', subscribe('analysis'))
    client.hear()
    client.ask('cluster', { responseNonce: '1', errorDetail: { code: 3, message: 'bad cluster' } })
    client.ask('cluster', { responseNonce: '1' })
    client.ask('cluster', { responseNonce: '2' })
    const node = { kind: 'cluster', nodeId: 'envoy-1' }
    expect(client.verdicts).toEqual([
      { ...node, error: 'bad cluster' },
      { ...node, error: undefined },
    ])
    const held = client.session.subscriptions.get('cluster')?.held
    expect(held?.get('document')).toMatchObject({ state: 'nacked', error: 'bad cluster' })
    expect(held?.get('analysis')).toMatchObject({ state: 'acked' })
  })

  it('with a nonce that nobody knows says nothing, but its subscriptions count', () => {
    client.ask('cluster', { ...subscribe('document'), responseNonce: '99' })
    expect(client.verdicts).toEqual([])
    expect(client.hear()).toEqual(['cluster +document'])
  })
})

it('refuses a client that asks for more than a thousand names, over however many requests', () => {
  const names = Array.from({ length: 1_000 }, (_, at) => `s${at}`)
  client.ask('endpoint', subscribe(...names))
  client.ask('endpoint', subscribe(...names))
  expect(() => client.ask('endpoint', subscribe('one more'))).toThrow(
    expect.objectContaining({ code: Code.INVALID_ARGUMENT }),
  )
})
