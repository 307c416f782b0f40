import { setTimeout as delay } from 'node:timers/promises'
import type { Queryable } from '@docmesh/postgres'
import { eventually } from '@docmesh/testing'
import type { ServiceName } from '../../e2e/fleet.ts'
import { type Lab, SERVICES } from './lab.ts'

export interface Kill {
  readonly service: ServiceName
  /** From 0. */
  readonly instance: number
  /** Analyses that have ended before it: a moment that is the same on slow and fast machines. */
  readonly afterEnded: number
  /** And then this long. */
  readonly pauseMs: number
}

/** No kill when hardly any work is left to be hurt. */
const LAST_SHARE = 0.75
const MAX_PAUSE_MS = 500
const PATIENCE = { timeoutMs: 180_000, intervalMs: 50 }
const TAKE_OVER = { timeoutMs: 30_000, intervalMs: 20 }

/** As many kills of each service, give or take one, in an order and at moments that `random` gives. */
export function planKills(
  count: number,
  { analyses, instances, random }: { analyses: number; instances: number; random: () => number },
): readonly Kill[] {
  const upTo = (limit: number): number => Math.floor(random() * limit)
  const moments = Array.from({ length: count }, () => upTo(analyses * LAST_SHARE)).sort((a, b) => a - b)
  const services = moments.map((_, at) => ({ service: SERVICES[at % SERVICES.length], place: random() }))
  services.sort((a, b) => a.place - b.place)
  return moments.map((afterEnded, at) => ({
    service: services[at]?.service ?? 'analysis',
    instance: upTo(instances),
    afterEnded,
    pauseMs: upTo(MAX_PAUSE_MS),
  }))
}

export interface Killed {
  readonly service: ServiceName
  /** Analyses that were open when it fell. */
  readonly open: number
  /** From the kill until nothing was in the hands of a dead instance, in milliseconds. */
  readonly healMs: number
}

/** Carries out the plan, and never kills a service of which an instance is down already. All are up again at the end. */
export async function kill(lab: Lab, plan: readonly Kill[]): Promise<readonly Killed[]> {
  const done: Killed[] = []
  for (const { service, instance, afterEnded, pauseMs } of plan) {
    await eventually(async () => {
      if ((await count(lab.db, ENDED)) < afterEnded) throw new Error(`${afterEnded} analyses have not ended`)
    }, PATIENCE)
    await delay(pauseMs)
    await lab.whole(service)
    const open = await count(lab.db, OPEN)
    const killedAt = performance.now()
    await lab.services[service][instance]?.kill()
    await eventually(async () => {
      if ((await count(lab.db, ABANDONED)) > 0) throw new Error('runs are in the hands of a dead node')
    }, TAKE_OVER)
    done.push({ service, open, healMs: Math.round(performance.now() - killedAt) })
  }
  for (const service of SERVICES) await lab.whole(service)
  return done
}

export const ENDED = "from analysis.analyses where state in ('completed', 'failed', 'cancelled')"
const OPEN = "from analysis.analyses where state not in ('completed', 'failed', 'cancelled')"
/** A node lives as long as its presence is connected; see libs/workflow/src/presence.ts. */
const ABANDONED = `from analysis_dbos.workflow_status where status = 'PENDING' and not exists (
  select from pg_stat_activity where application_name = 'analysis_workflow:' || executor_id)`

export async function count(db: Queryable, from: string): Promise<number> {
  const [row] = await db.query<{ count: number }>(`select count(*)::int as count ${from}`)
  return row?.count ?? 0
}
