import type { Sink } from '../io.ts'
import { truncated } from './text.ts'

/** One line of a terminal that is written again and again, and lines that scroll by above it. */
export interface LiveLine {
  set(text: string): void
  /** Prints whole lines without tearing the live one. */
  print(text: string): void
  clear(): void
}

const ERASE = '\r\u001b[2K'
/** Also for a terminal that says it has 0 columns, as one without a size does. */
const DEFAULT_COLUMNS = 80

export function createLiveLine(sink: Sink): LiveLine {
  let current = ''
  const draw = (): unknown => sink.write(ERASE + truncated(current, (sink.columns || DEFAULT_COLUMNS) - 1))
  return {
    set(text) {
      if (text === current) return
      current = text
      draw()
    },
    print(text) {
      if (current) sink.write(ERASE)
      sink.write(text)
      if (current) draw()
    },
    clear() {
      if (current) sink.write(ERASE)
      current = ''
    },
  }
}
