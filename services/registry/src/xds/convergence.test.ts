import {
  DeltaDiscoveryRequest,
  DiscoveryRequest,
} from '@docmesh/contracts/envoy/service/discovery/v3/discovery'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createCatalog, type Snapshot } from './catalog.ts'
import { createDeltaSession } from './delta.ts'
import { isWhole, KINDS, type Kind, kindOf, TYPE_URLS } from './kinds.ts'
import { member, nameIn, scriptedMesh } from './mesh.fixture.ts'
import { createSotwSession } from './sotw.ts'

const NAMES = ['document', 'document@1', 'document@2', 'analysis', 'nobody']
const OPTIONS = { now: () => new Date(0), onVerdict: () => {} }

/** What a client has of a type: the bytes by name. */
type View = Map<string, string>
const bytesOf = (value: Uint8Array): string => Buffer.from(value).toString('base64')

/** What a client does with what it gets, with messages on their way in between. */
interface Client {
  subscribe(kind: Kind, names: readonly string[]): void
  /** The server writes its next response, if it has one. */
  write(snapshot: Snapshot): boolean
  /** The client takes one response, and answers it. */
  read(): boolean
  has(kind: Kind): View
}

function sotwClient(): Client {
  const session = createSotwSession(OPTIONS)
  const views = new Map(KINDS.map((kind): [Kind, View] => [kind, new Map()]))
  const wanted = new Map<Kind, readonly string[]>()
  const nonces = new Map<Kind, string>()
  const wire: { kind: Kind; nonce: string; resources: View }[] = []
  const ask = (kind: Kind): void =>
    session.receive(
      DiscoveryRequest.fromPartial({
        typeUrl: TYPE_URLS[kind],
        resourceNames: [...(wanted.get(kind) ?? [])],
        responseNonce: nonces.get(kind) ?? '',
      }),
    )
  const view = (kind: Kind): View => views.get(kind) ?? new Map()
  return {
    has: view,
    subscribe(kind, names) {
      wanted.set(kind, names)
      for (const name of view(kind).keys()) if (!names.includes(name)) view(kind).delete(name)
      ask(kind)
    },
    write(snapshot) {
      const response = session.next(snapshot)
      const kind = response && kindOf(response.typeUrl)
      if (!kind) return false
      const resources = response.resources.map(({ value }): [string, string] => [
        nameIn(kind, value),
        bytesOf(value),
      ])
      wire.push({ kind, nonce: response.nonce, resources: new Map(resources) })
      return true
    },
    read() {
      const response = wire.shift()
      if (!response) return false
      const { kind, nonce, resources } = response
      nonces.set(kind, nonce)
      if (isWhole(kind)) view(kind).clear()
      for (const [name, bytes] of resources) if (wanted.get(kind)?.includes(name)) view(kind).set(name, bytes)
      ask(kind)
      return true
    },
  }
}

function deltaClient(): Client {
  const session = createDeltaSession(OPTIONS)
  const views = new Map(KINDS.map((kind): [Kind, View] => [kind, new Map()]))
  const wanted = new Map<Kind, readonly string[]>()
  const wire: { kind: Kind; nonce: string; resources: View; removed: readonly string[] }[] = []
  const ask = (kind: Kind, fields: Parameters<typeof DeltaDiscoveryRequest.fromPartial>[0]): void =>
    session.receive(DeltaDiscoveryRequest.fromPartial({ typeUrl: TYPE_URLS[kind], ...fields }))
  const view = (kind: Kind): View => views.get(kind) ?? new Map()
  return {
    has: view,
    subscribe(kind, names) {
      const before = wanted.get(kind) ?? []
      wanted.set(kind, names)
      for (const name of view(kind).keys()) if (!names.includes(name)) view(kind).delete(name)
      const resourceNamesSubscribe = names.filter((name) => !before.includes(name))
      const resourceNamesUnsubscribe = before.filter((name) => !names.includes(name))
      if (resourceNamesSubscribe.length + resourceNamesUnsubscribe.length > 0)
        ask(kind, { resourceNamesSubscribe, resourceNamesUnsubscribe })
    },
    write(snapshot) {
      const response = session.next(snapshot)
      const kind = response && kindOf(response.typeUrl)
      if (!kind) return false
      const resources = response.resources.map(({ name, resource }): [string, string] => [
        name,
        bytesOf(resource?.value ?? new Uint8Array()),
      ])
      wire.push({
        kind,
        nonce: response.nonce,
        resources: new Map(resources),
        removed: response.removedResources,
      })
      return true
    },
    read() {
      const response = wire.shift()
      if (!response) return false
      const { kind, nonce, resources, removed } = response
      for (const [name, bytes] of resources) if (wanted.get(kind)?.includes(name)) view(kind).set(name, bytes)
      for (const name of removed) view(kind).delete(name)
      ask(kind, { responseNonce: nonce })
      return true
    },
  }
}

const step = fc.oneof(
  fc.record({
    do: fc.constant('change' as const),
    members: fc.subarray(['a', 'b', 'c']),
    policy: fc.constantFrom('none', 'split', 'sticky'),
  }),
  fc.record({
    do: fc.constant('subscribe' as const),
    kind: fc.constantFrom(...KINDS),
    names: fc.subarray(NAMES, { minLength: 1 }),
  }),
  fc.constant({ do: 'write' as const }),
  fc.constant({ do: 'read' as const }),
)

const MEMBERS = {
  a: member('a', { version: '1' }),
  b: member('b', { version: '2', address: '127.0.0.1:7402' }),
  c: member('c', { service: 'analysis' }),
}
const POLICIES = {
  none: [],
  split: [
    {
      service: 'document',
      weights: [
        { version: '1', weight: 50 },
        { version: '2', weight: 50 },
      ],
    },
  ],
  sticky: [{ service: 'document', hash: { header: 'x' } }],
}

it.each([
  ['sotw', sotwClient],
  ['delta', deltaClient],
])(
  'whatever happens in whatever order, a client of %s ends with what there is of what it wants',
  (_, create) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const mesh = scriptedMesh()
        const catalog = createCatalog(mesh)
        const client = create()
        const wanted = new Map<Kind, readonly string[]>()
        for (const each of steps) {
          if (each.do === 'change') {
            const members = each.members.map((id) => MEMBERS[id as keyof typeof MEMBERS])
            mesh.set({ members, policies: POLICIES[each.policy as keyof typeof POLICIES] })
          } else if (each.do === 'subscribe') {
            wanted.set(each.kind, each.names)
            client.subscribe(each.kind, each.names)
          } else if (each.do === 'write') client.write(catalog.current())
          else client.read()
        }
        for (let more = true; more; ) {
          const wrote = client.write(catalog.current())
          more = client.read() || wrote
        }
        for (const [kind, names] of wanted) {
          for (const name of names) {
            const there = catalog.current().resources[kind].get(name)
            if (there) expect(client.has(kind).get(name)).toBe(bytesOf(there.any.value))
          }
        }
      }),
      { numRuns: 300 },
    )
  },
)
