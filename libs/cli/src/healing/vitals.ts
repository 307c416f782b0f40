import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

export interface Vitals {
  readonly rssBytes: number
  /** Stopped by a signal (SIGSTOP, a debugger): it hears no signal but SIGKILL. */
  readonly stopped: boolean
}

/** What the system says of a process; undefined when it says nothing. */
export function vitalsOf(pid: number): Vitals | undefined {
  try {
    return process.platform === 'linux'
      ? fromProc(readFileSync(`/proc/${pid}/status`, 'utf8'))
      : fromPs(execFileSync('ps', ['-o', 'rss=,state=', '-p', String(pid)], { encoding: 'utf8' }))
  } catch {
    return undefined // it has ended
  }
}

/** https://www.kernel.org/doc/html/latest/filesystems/proc.html: `State: T (stopped)`, `VmRSS: 1234 kB`. */
function fromProc(text: string): Vitals {
  const [, state = ''] = /^State:\s+(\S)/m.exec(text) ?? []
  const [, kib = '0'] = /^VmRSS:\s+(\d+) kB/m.exec(text) ?? []
  return { rssBytes: Number(kib) * 1_024, stopped: /[Tt]/.test(state) }
}

function fromPs(text: string): Vitals {
  const [kib = '0', state = ''] = text.trim().split(/\s+/)
  return { rssBytes: Number(kib) * 1_024, stopped: state.startsWith('T') }
}
