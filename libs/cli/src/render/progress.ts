import type { Sink } from '../io.ts'
import { createLiveLine } from './live-line.ts'
import { durationText, plain } from './text.ts'

interface ProgressState {
  /** What is being done: a step of the analysis, or `upload`. */
  readonly step: string
  /** 0 to 100. */
  readonly percent: number
  readonly remainingMs?: number | undefined
}

export interface Progress {
  update(state: ProgressState): void
  /** Removes the bar; lines stay. */
  end(): void
}

const BAR_WIDTH = 24

const bar = (percent: number): string => {
  const full = Math.round((Math.min(100, Math.max(0, percent)) / 100) * BAR_WIDTH)
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}]`
}

/** A bar on a terminal; elsewhere a line at each change of step, which is what a log wants. */
export function createProgress(sink: Sink, title: string): Progress {
  const name = plain(title)
  if (!sink.isTTY) {
    let shown = ''
    return {
      update({ step, percent }) {
        if (step === shown) return
        shown = step
        sink.write(`${name}: ${step} ${Math.floor(percent)} %\n`)
      },
      end() {},
    }
  }
  const line = createLiveLine(sink)
  return {
    update({ step, percent, remainingMs }) {
      const left = remainingMs === undefined ? '' : `  about ${durationText(remainingMs)} left`
      line.set(`${bar(percent)} ${String(Math.floor(percent)).padStart(3)} %  ${step}${left}  ${name}`)
    },
    end: line.clear,
  }
}
