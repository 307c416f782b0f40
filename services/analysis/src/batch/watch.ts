import { setTimeout as delay } from 'node:timers/promises'
import type { Analysis } from '../analysis.ts'
import type { Changes } from '../changes.ts'
import { patiently } from '../patiently.ts'
import type { Batch } from './batch.ts'
import type { BatchStore } from './store.ts'

export interface BatchNews {
  readonly batch: Batch
  /** Ended since the news before; none in the first. */
  readonly ended: readonly Analysis[]
}

interface WatchOptions {
  readonly id: string
  readonly signal: AbortSignal
  readonly changes: Changes
  readonly store: BatchStore
  get(): Promise<Batch>
  /** Undefined for one that is gone. */
  analysis(id: string): Promise<Analysis | undefined>
}

/** Of one message; an analysis has some kilobytes. */
const MAX_ENDED = 100
/** Changes within this time are told together. */
const GATHER_MS = 100

/** A slow reader gets fewer messages, not a queue of them: each is read from the database when it is asked for. */
export async function* watchBatch({
  id,
  signal,
  changes,
  store,
  get,
  analysis,
}: WatchOptions): AsyncIterable<BatchNews> {
  using subscription = changes.subscribe(id)
  for (let told: number | undefined; !signal.aborted; ) {
    const changed = subscription.next(signal)
    const news = await patiently(() => newsAfter(told), signal)
    told = news.told
    yield news
    if (signal.aborted || (news.batch.endedAt && !news.more)) return
    if (news.more) continue
    await changed
    if (!signal.aborted) await delay(GATHER_MS, undefined, { signal }).catch(() => {})
  }

  async function newsAfter(told: number | undefined) {
    const batch = await get()
    const ends = told === undefined ? [] : await store.endedBetween(id, told, batch.ends, MAX_ENDED)
    const ended: Analysis[] = []
    for (const { analysisId } of ends) {
      const found = await analysis(analysisId)
      if (found) ended.push(found)
    }
    const more = ends.length === MAX_ENDED
    return { batch, ended, more, told: more ? (ends.at(-1)?.number ?? batch.ends) : batch.ends }
  }
}
