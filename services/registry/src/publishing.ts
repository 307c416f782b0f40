import type { Events } from '@docmesh/events'
import type { Postgres } from '@docmesh/postgres'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { type Announcement, announcementOf, announcementsOf } from './announcements.ts'
import { eventStore } from './event-store.ts'
import type { Incident } from './incident.ts'
import { createOutbox } from './outbox.ts'
import type { Registry } from './registry.ts'

export interface PublishingOptions {
  /** Settles when the database was reached for the first time, which may be never. */
  readonly opened: Promise<{
    readonly db: Pick<Postgres, 'transaction'>
    readonly events: Pick<Events, 'publish'>
  }>
  readonly clock: () => Date
  readonly logger: Logger
  readonly metrics: Metrics
  readonly random: () => number
}

const FORGET_MS = 3_600_000

/** Tells of every change of state in the mesh as events. The mesh does not wait for it, and does not mind if it fails. */
export function startPublishing(
  registry: Registry,
  { opened, clock, logger, metrics, random }: PublishingOptions,
): { incident(incident: Incident): void; close(): Promise<void> } {
  const dropped = metrics.counter('docmesh_registry_events_dropped_total')
  const outbox = createOutbox<Announcement>({
    ready: opened,
    logger,
    onDropped: () => dropped.inc(),
    random,
    isFault: (error) => !(error instanceof Error && error.name === 'DatabaseUnavailable'),
    async write(announcements) {
      const { db, events } = await opened
      await db.transaction(async (tx) => {
        for (const announce of announcements) await announce(tx, events.publish, eventStore)
      })
    },
  })
  const unsubscribe = registry.onChange((change) => {
    for (const announcement of announcementsOf(change, registry.epoch, clock())) outbox.push(announcement)
  })
  const forgetting = setInterval(
    () => outbox.push((tx, _publish, store) => store.forget(tx)),
    FORGET_MS,
  ).unref()
  return {
    incident: (incident) => outbox.push(announcementOf(incident)),
    close() {
      unsubscribe()
      clearInterval(forgetting)
      return outbox.close()
    },
  }
}
