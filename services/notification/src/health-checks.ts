import type { Postgres } from '@docmesh/postgres'
import type { Health } from '@docmesh/telemetry'
import type { Servers } from './servers.ts'
import type { NotificationStore } from './store.ts'

const LATE_MS = 60_000

/** Without the database nothing works; without the mail server all else does, and email waits. */
export function registerHealthChecks(
  health: Health,
  {
    db,
    store,
    servers,
    email,
  }: {
    db: Postgres
    store: Pick<NotificationStore, 'overdue'>
    servers: Pick<Servers, 'closed'>
    email: { verify(): Promise<unknown> } | undefined
  },
): void {
  health.register({ name: 'postgres', critical: true, check: () => db.ping() })
  if (email) health.register({ name: 'smtp', critical: false, check: () => email.verify() })
  health.register({
    name: 'deliveries',
    critical: false,
    check: async () => {
      const late = await store.overdue(LATE_MS, servers.closed())
      if (late > 0) throw new Error(`${late} deliveries wait for a worker for more than a minute`)
    },
  })
}
