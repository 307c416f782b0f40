import type { Postgres } from '@docmesh/postgres'
import type { Health } from '@docmesh/telemetry'
import type { NotificationStore } from './store.ts'

const LATE_MS = 60_000

/** Without the database nothing works; without the mail server the feed does, and deliveries wait. */
export function registerHealthChecks(
  health: Health,
  {
    db,
    store,
    email,
  }: {
    db: Postgres
    store: Pick<NotificationStore, 'overdue'>
    email: { verify(): Promise<unknown> } | undefined
  },
): void {
  health.register({ name: 'postgres', critical: true, check: () => db.ping() })
  if (!email) return
  health.register({ name: 'smtp', critical: false, check: () => email.verify() })
  health.register({
    name: 'deliveries',
    critical: false,
    check: async () => {
      const late = await store.overdue(LATE_MS)
      if (late > 0) throw new Error(`${late} deliveries wait for a worker for more than a minute`)
    },
  })
}
