import { type BullMqSettings, openBullMq } from './bullmq.ts'
import { type DocmeshSettings, openDocmesh } from './docmesh.ts'
import type { Engine, Handler, Place } from './engine.ts'
import { openPgBoss, type PgBossSettings } from './pg-boss.ts'

export interface Contender {
  readonly engine: 'docmesh' | 'pg-boss' | 'bullmq'
  readonly settings: object
  open(place: Place, handler: Handler): Promise<Engine>
}

const docmesh = (settings: DocmeshSettings): Contender => ({
  engine: 'docmesh',
  settings,
  open: (place, handler) => openDocmesh(place, settings, handler),
})
const pgBoss = (settings: PgBossSettings): Contender => ({
  engine: 'pg-boss',
  settings,
  open: (place, handler) => openPgBoss(place, settings, handler),
})
const bullMq = (settings: BullMqSettings): Contender => ({
  engine: 'bullmq',
  settings,
  open: (place, handler) => openBullMq(place, settings, handler),
})

/** For jobs per second and latency: each as it comes, and as its documentation says to set it for many jobs. */
export const CONTENDERS: Readonly<Record<string, Contender>> = {
  'docmesh, defaults': docmesh({}),
  'docmesh, tuned': docmesh({ queue: { concurrency: 16 }, enginePoolMax: 8 }),
  'pg-boss, defaults': pgBoss({}),
  // LISTEN/NOTIFY for latency, batches that are fetched without a pause while they come back full.
  'pg-boss, tuned': pgBoss({
    boss: { useListenNotify: true },
    queue: { notify: true },
    work: { batchSize: 50, burstWhenBatchFull: true, localConcurrency: 2, pollingIntervalSeconds: 0.5 },
  }),
  'bullmq, defaults': bullMq({}),
  // Its guide to concurrency, and to auto-removal in production.
  'bullmq, tuned': bullMq({ concurrency: 50, removeOnComplete: { count: 1_000 } }),
}

/** For the time from kill -9 to the job running again. */
export const TAKEOVERS: Readonly<
  Record<string, Contender | { readonly engine: string; readonly why: string }>
> = {
  'docmesh, defaults': docmesh({}),
  'pg-boss, defaults': {
    engine: 'pg-boss',
    why: 'not measured: without a heartbeat it waits until the job expires, 900 s',
  },
  'pg-boss, heartbeat 10 s': pgBoss({
    boss: { superviseIntervalSeconds: 1, monitorIntervalSeconds: 1 },
    queue: { heartbeatSeconds: 10 },
    work: { pollingIntervalSeconds: 0.5 },
  }),
  // The shortest that it allows: every job that takes longer is begun again, whether its worker lives or not.
  'pg-boss, jobs of 1 s at most': pgBoss({
    boss: { superviseIntervalSeconds: 1, monitorIntervalSeconds: 1 },
    queue: { expireInSeconds: 1 },
    work: { pollingIntervalSeconds: 0.5 },
  }),
  'bullmq, defaults': bullMq({}),
  // As patient with a busy process as docmesh is: 5 s.
  'bullmq, lock 5 s': bullMq({ lockDuration: 5_000, stalledInterval: 1_000 }),
  'bullmq, lock 1 s': bullMq({ lockDuration: 1_000, stalledInterval: 250 }),
}
