import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** What a running server writes about itself into `postmaster.pid`. */
export type Postmaster = { pid: number; port: number; ready: boolean }

/** https://www.postgresql.org/docs/current/storage-file-layout.html: pid, folder, start, port, socket, address, memory, state. */
export const parsePostmasterPid = (text: string): Postmaster | undefined => {
  const lines = text.split('\n')
  const pid = Number(lines[0])
  const port = Number(lines[3])
  if (!Number.isInteger(pid) || pid <= 1 || !Number.isInteger(port)) return undefined
  return { pid, port, ready: lines[7]?.trim() === 'ready' }
}

const commandLine = (pid: number): string => {
  try {
    return process.platform === 'linux'
      ? readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      : execFileSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8' })
  } catch {
    return ''
  }
}

// A pid is reused after a crash or a container restart, so the command must name this folder.
const serves = (pid: number, data: string): boolean => {
  const command = commandLine(pid)
  return command.includes('postgres') && command.includes(data)
}

/** The live server of this data folder, if there is one. A pid file left by another is removed. */
export const findPostmaster = (data: string): Postmaster | undefined => {
  const file = join(data, 'postmaster.pid')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
  const found = parsePostmasterPid(text)
  if (found === undefined) return undefined
  if (serves(found.pid, data)) return found
  rmSync(file, { force: true })
  return undefined
}

const POLL_MS = 20
const STOP_TIMEOUT_MS = 20_000

/** Polls until `probe` returns a value; undefined when time is up. */
export const poll = async <T>(probe: () => T | undefined, timeoutMs: number): Promise<T | undefined> => {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const value = probe()
    if (value !== undefined || performance.now() > deadline) return value
    await delay(POLL_MS)
  }
}

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Fast shutdown: open transactions are rolled back, everything committed is on disk. */
export const stopPostmaster = async (pid: number, data: string): Promise<void> => {
  if (!serves(pid, data)) return
  const gone = () => (serves(pid, data) ? undefined : true)
  signal(pid, 'SIGINT')
  if (await poll(gone, STOP_TIMEOUT_MS)) return
  signal(pid, 'SIGQUIT')
  await poll(gone, STOP_TIMEOUT_MS)
}
