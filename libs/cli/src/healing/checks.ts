import { statfs } from 'node:fs/promises'
import { type Instance, InstanceHealth } from '@docmesh/contracts/registry/v1/registry'
import { type CheckResult, checkId, type HealthCheck } from '@docmesh/healing'
import type { MendableProcess } from '../supervised-process.ts'
import { POSTGRES } from './fleet.ts'
import { vitalsOf } from './vitals.ts'

export interface CheckOptions {
  /** Pause between two looks at a process or the database; the disk is looked at twelve times less often. Default 5,000. */
  readonly intervalMs?: number
  /** An instance that does not answer for this long hangs. Default 2,000. */
  readonly timeoutMs?: number
  /** Resident memory that a process may have; it is much from 85 % on. Default 1 GiB. */
  readonly memoryBytes?: number
  /** Least free space for the data. Default 512 MiB. */
  readonly diskBytes?: number
}

export interface CheckSources {
  readonly dataDir: string
  readonly ping: () => Promise<void>
  /** What the registry lists now. */
  readonly listed: () => Promise<readonly Instance[]>
}

const MEMORY_SHARE = 0.85
const DATABASE = checkId({ name: 'database', target: POSTGRES })
const REGISTRY = checkId({ name: 'health', target: 'registry' })

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
const well: CheckResult = { healthy: true, detail: '' }
const ill = (detail: string): CheckResult => ({ healthy: false, detail })

/** The checks of what all instances share. */
export function sharedChecks(
  { intervalMs = 5_000, timeoutMs = 2_000, diskBytes = 512 * 2 ** 20 }: CheckOptions,
  { dataDir, ping }: CheckSources,
): readonly HealthCheck[] {
  return [
    {
      name: 'database',
      target: POSTGRES,
      criticality: 'critical',
      intervalMs,
      timeoutMs,
      failuresBefore: 2,
      run: () => ping().then(() => well),
    },
    {
      name: 'disk',
      target: 'data',
      criticality: 'high',
      intervalMs: 12 * intervalMs,
      timeoutMs,
      failuresBefore: 2,
      async run() {
        const { bavail, bsize } = await statfs(dataDir)
        const free = bavail * bsize
        return free >= diskBytes ? well : ill(`${mib(free)} are free for ${dataDir}`)
      },
    },
  ]
}

/** The checks of one process. */
export function instanceChecks(
  process: MendableProcess,
  { intervalMs = 5_000, timeoutMs = 2_000, memoryBytes = 2 ** 30 }: CheckOptions,
  { listed }: CheckSources,
): readonly HealthCheck[] {
  const target = process.spec.name
  const own = checkId({ name: 'health', target })
  const common = { target, intervalMs, timeoutMs }
  const inRegistry = async (): Promise<Instance | undefined> => {
    const state = process.state()
    if (state.kind !== 'ready') return undefined
    return (await listed()).find(({ registration }) => registration?.instanceId === state.instanceId)
  }
  const checks: readonly HealthCheck[] = [
    {
      ...common,
      name: 'health',
      criticality: 'high',
      explainedBy: [DATABASE],
      run: (signal) => askHealth(process, signal),
    },
    {
      ...common,
      name: 'lease',
      criticality: 'high',
      // Time to register again by itself, and for the health check to notice a process that hangs.
      failuresBefore: 6,
      explainedBy: [own, REGISTRY],
      run: async () => ((await inRegistry()) ? well : ill('runs, but the registry does not list it')),
    },
    {
      ...common,
      name: 'event-loop',
      criticality: 'medium',
      failuresBefore: 6,
      explainedBy: [own, REGISTRY],
      run: async () =>
        (await inRegistry())?.health === InstanceHealth.DEGRADED
          ? ill('its event loop lags by more than a second')
          : well,
    },
    {
      ...common,
      name: 'memory',
      criticality: 'medium',
      explainedBy: [own],
      async run() {
        const pid = process.pid()
        const { rssBytes = 0 } = (pid !== undefined && vitalsOf(pid)) || {}
        return rssBytes < MEMORY_SHARE * memoryBytes
          ? well
          : ill(`it has ${mib(rssBytes)} of ${mib(memoryBytes)}`)
      },
    },
  ]
  return checks.map((check) => ({
    ...check,
    run: async (signal) => (isLeaving(process) ? well : check.run(signal)),
  }))
}

/** Nobody mends what was stopped for good. */
const isLeaving = (process: MendableProcess): boolean =>
  ['stopping', 'stopped'].includes(process.state().kind)

interface Report {
  readonly checks?: readonly { readonly name: string; readonly state: string; readonly error?: string }[]
}

/** Its own report, from memory: one that takes long means that the process itself hangs. */
async function askHealth(process: MendableProcess, signal: AbortSignal): Promise<CheckResult> {
  const state = process.state()
  if (state.kind !== 'ready') return ill(`it is ${state.kind}`)
  if (!state.adminAddress) return well
  const response = await fetch(`http://${state.adminAddress}/health`, { signal })
  const { checks = [] } = (await response.json()) as Report
  if (response.ok) return well
  const failed = checks.filter((check) => check.state === 'failed')
  return ill(
    failed.map(({ name, error }) => `${name}: ${error}`).join(', ') || 'it says that it is unhealthy',
  )
}
