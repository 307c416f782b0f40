import type { Batch } from '@docmesh/contracts/analysis/v1/batch'
import type { Sink } from '../io.ts'
import { createProgress } from '../render/progress.ts'
import { durationMs, durationText } from '../render/text.ts'

export interface BatchProgress {
  uploads(done: number, total: number): void
  analyses(batch: Batch): void
  /** Prints whole lines beside the progress. */
  print(text: string): void
  /** Removes the bar; lines stay. */
  end(): void
}

interface Count {
  readonly phase: 'uploaded' | 'analysed'
  readonly done: number
  readonly total: number
  readonly failed: number
  readonly remainingMs: number | undefined
}

const LINE_EVERY_MS = 5_000

/** A bar on a terminal; elsewhere a line now and then. `now` counts milliseconds. */
export function createBatchProgress(sink: Sink, name: string, now: () => number): BatchProgress {
  const bar = sink.isTTY ? createProgress(sink, name) : undefined
  let begun: { readonly phase: Count['phase']; readonly done: number; readonly atMs: number } | undefined
  let writtenMs = Number.NEGATIVE_INFINITY

  /** What was there before we looked is nobody's pace. */
  function perSecond({ phase, done }: Count): number {
    if (begun?.phase !== phase) {
      begun = { phase, done, atMs: now() }
      writtenMs = Number.NEGATIVE_INFINITY
    }
    const seconds = (now() - begun.atMs) / 1_000
    return seconds > 0 ? (done - begun.done) / seconds : 0
  }

  function show(count: Count): void {
    const { phase, done, total, failed } = count
    const pace = perSecond(count)
    const ownMs = pace > 0 ? ((total - done) / pace) * 1_000 : undefined
    const remainingMs = done < total ? (count.remainingMs ?? ownMs) : undefined
    const step = [
      `${phase} ${done}/${total}`,
      ...(failed > 0 ? [`${failed} failed`] : []),
      ...(pace > 0 ? [`${pace.toFixed(1)}/s`] : []),
    ].join(', ')
    if (bar) bar.update({ step, percent: total === 0 ? 0 : (100 * done) / total, remainingMs })
    else if (done === total || now() - writtenMs >= LINE_EVERY_MS) {
      writtenMs = now()
      sink.write(`${step}${remainingMs === undefined ? '' : `, about ${durationText(remainingMs)} left`}\n`)
    }
  }

  return {
    uploads: (done, total) => show({ phase: 'uploaded', done, total, failed: 0, remainingMs: undefined }),
    analyses: ({ completed, failed, cancelled, total, estimatedRemaining }) =>
      show({
        phase: 'analysed',
        done: completed + failed + cancelled,
        total,
        failed,
        remainingMs: durationMs(estimatedRemaining),
      }),
    print(text) {
      bar?.end()
      sink.write(text)
    },
    end: () => bar?.end(),
  }
}
