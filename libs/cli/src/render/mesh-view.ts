import type { Sink } from '../io.ts'
import type { SupervisedProcess } from '../supervised-process.ts'
import { createLiveLine } from './live-line.ts'
import { changeLine, statusLine } from './mesh-status.ts'

/** Shows how a local mesh is doing. */
export interface MeshView {
  changed(process: SupervisedProcess): void
  /** Leaves the terminal to somebody else until `resume`. */
  pause(): void
  resume(): void
  end(): void
}

const REDRAW_MS = 1_000

/** A status line on a terminal, with what is out of the ordinary above it; elsewhere a line for each change. */
export function createMeshView(sink: Sink, now: () => number): MeshView {
  const processes = new Set<SupervisedProcess>()
  const terminal = sink.isTTY === true
  const line = createLiveLine(sink)
  const startedMs = now()
  let paused = false
  const draw = (): void => {
    if (terminal && !paused) line.set(statusLine([...processes], now() - startedMs))
  }
  const timer = setInterval(draw, REDRAW_MS)
  timer.unref()
  return {
    changed(process) {
      if (process.state().kind === 'stopped') processes.delete(process)
      else processes.add(process)
      const text = changeLine(process)
      if (text && !(terminal && process.state().kind === 'ready')) line.print(`${text}\n`)
      draw()
    },
    pause() {
      paused = true
      line.clear()
    },
    resume() {
      paused = false
      draw()
    },
    end() {
      clearInterval(timer)
      paused = true
      line.clear()
    },
  }
}
