import { ClusterLoadAssignment } from '@docmesh/contracts/envoy/config/endpoint/v3/endpoint'
import { eventually } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { createCatalog, type Snapshot } from './catalog.ts'
import { createHosts } from './hosts.ts'
import { member, scriptedMesh } from './mesh.fixture.ts'

const addressesOf = ({ resources }: Snapshot, name: string) =>
  ClusterLoadAssignment.decode(resources.endpoint.get(name)?.any.value ?? new Uint8Array()).endpoints.flatMap(
    ({ lbEndpoints }) =>
      lbEndpoints.map(({ hostIdentifier }) => hostIdentifier?.value.address?.address?.value.address),
  )

describe('the catalog', () => {
  it('is the same for everybody until something changes', () => {
    const mesh = scriptedMesh({ members: [member('a')] })
    const catalog = createCatalog(mesh)
    const before = catalog.current()
    expect(catalog.current()).toBe(before)
    mesh.set({ members: [member('a'), member('b')] })
    expect(catalog.current()).not.toBe(before)
  })

  it('encodes only the services that have changed', () => {
    const revised = (revision: bigint) => member('a', { revision })
    const unchanged = member('x', { service: 'analysis' })
    let members = [revised(1n), unchanged]
    let changed = (): void => {}
    const catalog = createCatalog({
      members: () => members,
      policies: () => [],
      onChange(listener) {
        changed = listener
        return () => {}
      },
    })
    const before = catalog.current().resources.endpoint
    members = [revised(2n), { ...unchanged, renewedAt: new Date(1) }]
    changed()
    const after = catalog.current().resources.endpoint
    expect(after.get('analysis')).toBe(before.get('analysis'))
    expect(after.get('document')).not.toBe(before.get('document'))
    expect(after.get('document')?.version).toBe(before.get('document')?.version)
  })

  it('has the services that have only a policy', () => {
    const mesh = scriptedMesh({ policies: [{ service: 'later', weights: [{ version: '1', weight: 100 }] }] })
    const { resources, settled } = createCatalog(mesh).current()
    expect([...resources.cluster.keys()]).toEqual(['later', 'later@1'])
    expect(settled).toBe(true)
  })

  it('gives a type another version when one of its resources changes, and only that type', () => {
    const mesh = scriptedMesh({ members: [member('a')] })
    const catalog = createCatalog(mesh)
    const { versions } = catalog.current()
    mesh.set({ members: [member('a', { health: 'unhealthy' })] })
    const { endpoint, ...others } = catalog.current().versions
    expect(endpoint).not.toBe(versions.endpoint)
    expect(versions).toMatchObject({ cluster: others.cluster, listener: others.listener })
  })

  it('lists a host name by its address once that is known, and tells that it has changed', async () => {
    const mesh = scriptedMesh({
      members: [
        member('a', { address: 'document-1:7400' }),
        member('b', { address: '[::1]:7400' }),
        member('c', { address: 'nowhere:7400' }),
      ],
    })
    const catalog = createCatalog(mesh, {
      resolve: async (host) => {
        if (host === 'document-1') return '10.1.2.3'
        throw new Error('unknown host')
      },
    })
    let changes = 0
    catalog.onChange(() => changes++)
    expect(addressesOf(catalog.current(), 'document')).toEqual(['::1'])
    await eventually(() =>
      expect(addressesOf(catalog.current(), 'document').sort()).toEqual(['10.1.2.3', '::1']),
    )
    expect(changes).toBe(1)
  })
})

describe('a host name that nobody could resolve', () => {
  it('is asked for again while there is somebody who wants it, though nothing else changes', async () => {
    const mesh = scriptedMesh({ members: [member('a', { address: 'document-1:7400' })] })
    let asked = 0
    const catalog = createCatalog(mesh, {
      freshMs: 20,
      resolve: async () => {
        if (++asked === 1) throw new Error('the name server is away')
        return '10.1.2.3'
      },
    })
    let addresses = addressesOf(catalog.current(), 'document')
    catalog.onChange(() => {
      addresses = addressesOf(catalog.current(), 'document')
    })
    expect(addresses).toEqual([])
    await eventually(() => expect(addresses).toEqual(['10.1.2.3']))
  })
})

describe('host names', () => {
  it('are asked for again after 30 s, and keep their address while nobody answers', async () => {
    let now = 0
    const answers = ['10.0.0.1', undefined, '10.0.0.2']
    const changes: number[] = []
    const hosts = createHosts({
      now: () => now,
      onChange: () => changes.push(now),
      resolve: async () => {
        const answer = answers.shift()
        if (!answer) throw new Error('no answer')
        return answer
      },
    })
    const settle = () => new Promise((resolve) => setImmediate(resolve))
    expect(hosts.ipOf('db')).toBeUndefined()
    await settle()
    expect(hosts.ipOf('db')).toBe('10.0.0.1')
    for (const at of [30_001, 60_002]) {
      now = at
      expect(hosts.ipOf('db')).toBe('10.0.0.1')
      await settle()
    }
    expect(hosts.ipOf('db')).toBe('10.0.0.2')
    expect(changes).toEqual([0, 60_002])
    expect(answers).toEqual([])
  })
})
