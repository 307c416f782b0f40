import {
  CircuitChanged,
  EndpointEjected,
  EndpointReadmitted,
  ExpiryGuardChanged,
  InstanceStateChanged,
  PanicChanged,
  ServiceDeregistered,
  ServiceRecovered,
  ServiceRegistered,
  ServiceUnhealthy,
} from '@docmesh/contracts/registry/v1/events'
import type { Publish } from '@docmesh/events'
import type { Queryable } from '@docmesh/postgres'
import type { Change } from './change.ts'
import type { EventStore, Sighting } from './event-store.ts'
import type { Incident, IncidentName } from './incident.ts'
import type { Member } from './member.ts'

/** Writes one event, unless another replica has. */
export type Announcement = (tx: Queryable, publish: Publish, store: EventStore) => Promise<void>

const sighting = ({ instanceId, incarnation }: Member, at: Date): Sighting => ({
  instanceId,
  incarnation,
  at,
})
const ofInstance = ({ instanceId }: Member) => ({ aggregateType: 'instance', aggregateId: instanceId })

/** The events of a change, in order. Policies announce themselves where they are written. */
export function announcementsOf(change: Change, epoch: string, at: Date): Announcement[] {
  switch (change.kind) {
    case 'joined':
      return [joined(change.member, at)]
    case 'left':
      return [left(change.member, change.reason, at)]
    case 'changed':
      return changed(change.previous, change.member, change.detail, at)
    case 'guard': {
      const { active, expired, instances } = change
      return [
        async (tx, publish) => {
          const event = { replica: epoch, active, expired, instances }
          await publish(tx, ExpiryGuardChanged, event, { aggregateType: 'registry', aggregateId: epoch })
        },
      ]
    }
    default:
      return []
  }
}

const joined =
  (member: Member, at: Date): Announcement =>
  async (tx, publish, store) => {
    const { service, instanceId, address, version, state } = member
    if (!(await store.joined(tx, sighting(member, at), state))) return
    await publish(tx, ServiceRegistered, { service, instanceId, address, version }, ofInstance(member))
  }

const left =
  (member: Member, reason: string, at: Date): Announcement =>
  async (tx, publish, store) => {
    const { service, instanceId } = member
    const told = await store.left(tx, sighting(member, at))
    if (!told) return
    const { unhealthy } = told
    await publish(tx, ServiceDeregistered, { service, instanceId, reason, unhealthy }, ofInstance(member))
  }

function changed(before: Member, member: Member, detail: string, at: Date): Announcement[] {
  const { service, instanceId, state: to, health } = member
  const announcements: Announcement[] = []
  if (before.state !== to) {
    announcements.push(async (tx, publish, store) => {
      if (!(await store.changed(tx, sighting(member, at), to))) return
      const event = { service, instanceId, from: before.state, to }
      await publish(tx, InstanceStateChanged, event, ofInstance(member))
    })
  }
  const unhealthy = health === 'unhealthy'
  if ((before.health === 'unhealthy') !== unhealthy) {
    announcements.push(async (tx, publish, store) => {
      if (!(await store.health(tx, sighting(member, at), unhealthy))) return
      if (unhealthy) await publish(tx, ServiceUnhealthy, { service, instanceId, detail }, ofInstance(member))
      else await publish(tx, ServiceRecovered, { service, instanceId }, ofInstance(member))
    })
  }
  return announcements
}

const CIRCUITS: Partial<Record<IncidentName, string>> = {
  circuit_opened: 'open',
  circuit_half_opened: 'half_open',
  circuit_closed: 'closed',
}

/** What a caller saw; it reports the same to every replica. */
export function announcementOf(incident: Incident): Announcement {
  const { kind, at, callerService, callerInstanceId, service, instanceId, methodClass, reason } = incident
  const key = JSON.stringify([callerInstanceId, at.getTime(), kind, service, instanceId, methodClass])
  const by = { callerService, callerInstanceId, service }
  const options = { aggregateType: 'caller', aggregateId: callerInstanceId }
  return async (tx, publish, store) => {
    if (!(await store.report(tx, key))) return
    switch (kind) {
      case 'endpoint_ejected':
        await publish(tx, EndpointEjected, { ...by, instanceId, reason }, options)
        return
      case 'endpoint_readmitted':
        await publish(tx, EndpointReadmitted, { ...by, instanceId }, options)
        return
      case 'panic_started':
      case 'panic_ended':
        await publish(tx, PanicChanged, { ...by, active: kind === 'panic_started' }, options)
        return
      default: {
        const to = CIRCUITS[kind] ?? ''
        await publish(tx, CircuitChanged, { ...by, methodClass, to, reason }, options)
      }
    }
  }
}
