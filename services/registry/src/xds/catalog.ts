import { createHash } from 'node:crypto'
import type { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import type { Member } from '../member.ts'
import type { Located } from './assignment.ts'
import { createHosts, type HostsOptions } from './hosts.ts'
import { byKind, type Kind } from './kinds.ts'
import { type Resource, resourcesOf } from './resources.ts'
import type { MeshSource } from './source.ts'

/** All resources at one moment. */
export interface Snapshot {
  readonly resources: Readonly<Record<Kind, ReadonlyMap<string, Resource>>>
  /** A hash over all resources of a type. */
  readonly versions: Readonly<Record<Kind, string>>
  /** Instances and policies are complete: what is not here does not exist. */
  readonly settled: boolean
  /** The instances alone are. */
  readonly instancesSettled: boolean
}

export interface Catalog {
  /** The newest snapshot. It is made when the first stream asks after a change, and is the same for all of them. */
  current(): Snapshot
  onChange(listener: () => void): () => void
}

interface Built {
  /** Says what the resources were made from. */
  readonly key: string
  readonly resources: readonly Resource[]
}

export function createCatalog(
  source: MeshSource,
  hostsOptions: Pick<HostsOptions, 'resolve' | 'freshMs'> = {},
): Catalog {
  const listeners = new Set<() => void>()
  let snapshot: Snapshot | undefined
  let built = new Map<string, Built>()
  const changed = (): void => {
    snapshot = undefined
    for (const listener of [...listeners]) listener()
  }
  const hosts = createHosts({ ...hostsOptions, onChange: changed })
  source.onChange(changed)

  function build(): Snapshot {
    const members = Map.groupBy(source.members(), ({ service }) => service)
    const policies = new Map(source.policies().map((policy) => [policy.service, policy]))
    const policiesPending = source.policiesPending?.() ?? false
    const instancesSettled = source.settled?.() ?? true
    const next = new Map<string, Built>()
    for (const service of [...new Set([...members.keys(), ...policies.keys()])].sort()) {
      const located = (members.get(service) ?? []).flatMap((member) => locate(member, hosts.ipOf))
      const policy = policies.get(service)
      const key = `${policiesPending} ${keyOf(located, policy)}`
      const known = built.get(service)
      // Clients may have the clusters of any version, from a policy that is not known now.
      const versions = policiesPending ? located.map(({ member }) => member.version) : []
      next.set(
        service,
        known?.key === key ? known : { key, resources: resourcesOf(service, located, policy, versions) },
      )
    }
    built = next
    const all = [...next.values()].flatMap(({ resources }) => resources)
    const resources = byKind(
      (kind) => new Map(all.filter((each) => each.kind === kind).map((each) => [each.name, each])),
    )
    return {
      resources,
      versions: byKind((kind) => versionOf(resources[kind])),
      settled: instancesSettled && !policiesPending,
      instancesSettled,
    }
  }

  return {
    current() {
      snapshot ??= build()
      return snapshot
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

function locate(member: Member, ipOf: (host: string) => string | undefined): Located[] {
  const colon = member.address.lastIndexOf(':')
  const ip = ipOf(member.address.slice(0, colon))
  return ip === undefined ? [] : [{ member, ip, port: Number(member.address.slice(colon + 1)) }]
}

const keyOf = (located: readonly Located[], policy: TrafficPolicy | undefined): string =>
  [
    policy ? `${policy.revision} ${policy.etag}` : '',
    ...located.map(({ member, ip }) => `${member.instanceId} ${member.incarnation} ${member.revision} ${ip}`),
  ].join('\n')

function versionOf(resources: ReadonlyMap<string, Resource>): string {
  const hash = createHash('sha256')
  for (const { name, version } of resources.values()) hash.update(`${name} ${version}\n`)
  return hash.digest('base64url').slice(0, 16)
}
