import { DiagnosticsServiceDefinition, HealthState } from '@docmesh/contracts/ops/v1/diagnostics'
import { breakerInfo, type Mesh, meshView } from '@docmesh/mesh'
import {
  durationOf,
  type Implementation,
  implement,
  invalidRequest,
  msOf,
  unimplementedMethods,
} from '@docmesh/rpc'
import type { Health, Logger, LogLevel, Metrics } from '@docmesh/telemetry'
import type { Lifecycle } from './lifecycle.ts'

export interface DiagnosticsDeps {
  readonly service: string
  readonly instanceId: string
  readonly version: string
  readonly startedAt: number
  readonly health: Health
  readonly lifecycle: Lifecycle
  readonly logger: Logger
  readonly metrics: Metrics
  readonly mesh: Mesh
  readonly implementations: readonly Implementation[]
}

const MAX_LEVEL_MS = 86_400_000
const LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] satisfies LogLevel[]
const HEALTH = {
  healthy: HealthState.HEALTHY,
  degraded: HealthState.DEGRADED,
  unhealthy: HealthState.UNHEALTHY,
  unknown: HealthState.UNKNOWN,
}

/** docmesh.ops.v1.DiagnosticsService: the inside of this process. */
export function diagnostics(deps: DiagnosticsDeps): Implementation {
  const { health, lifecycle, logger, metrics, mesh, implementations } = deps
  /** While a level is set for a time: the level to go back to, and when. */
  let passing: { readonly level: LogLevel; readonly timer: NodeJS.Timeout } | undefined
  const own: Implementation = implement(DiagnosticsServiceDefinition, {
    async getDiagnostics() {
      const { state, checks } = health.report()
      return {
        process: processInfo(deps),
        health: HEALTH[state],
        checks: checks.map((check) => ({
          name: check.name,
          critical: check.critical,
          state: { unknown: HealthState.UNKNOWN, passed: HealthState.HEALTHY, failed: HealthState.UNHEALTHY }[
            check.state
          ],
          detail: check.state === 'failed' ? check.error : '',
          ...(check.state === 'unknown'
            ? {}
            : { checkedAt: new Date(check.checkedAt), duration: durationOf(check.durationMs) }),
        })),
        lifecycle: lifecycle.state(),
        transitions: [...lifecycle.history()],
        metrics: metrics.summary().map(({ name, labels, sum, count, p50, p95, p99 }) => ({
          name,
          labels: { ...labels },
          value: sum,
          count: BigInt(count),
          p50,
          p95,
          p99,
        })),
        breakers: mesh.breakers().map(breakerInfo),
        logLevel: logger.level,
        unimplementedMethods: [...implementations, own].flatMap(unimplementedMethods),
      }
    },
    getMeshView: async (request) => meshView(mesh, request),
    async setLogLevel({ level, duration: limit }) {
      const limitMs = limit && msOf(limit)
      const faults = [
        ...(LEVELS.includes(level)
          ? []
          : [{ field: 'level', description: `write one of ${LEVELS.join(', ')}` }]),
        ...(limitMs === undefined || (limitMs > 0 && limitMs <= MAX_LEVEL_MS)
          ? []
          : [{ field: 'duration', description: 'more than 0, at most one day' }]),
      ]
      if (faults.length > 0) throw invalidRequest(faults)
      const previousLevel = logger.level
      const lasting = passing?.level ?? previousLevel
      clearTimeout(passing?.timer)
      passing = undefined
      logger.level = level as LogLevel
      if (limitMs !== undefined) {
        const back = (): void => {
          passing = undefined
          logger.level = lasting
        }
        passing = { level: lasting, timer: setTimeout(back, limitMs).unref() }
      }
      return { previousLevel }
    },
  })
  return own
}

function processInfo({ service, instanceId, version, startedAt }: DiagnosticsDeps) {
  const { rss, heapUsed } = process.memoryUsage()
  return {
    service,
    instanceId,
    version,
    runtime: `node ${process.version}`,
    platform: `${process.platform} ${process.arch}`,
    pid: process.pid,
    uptime: durationOf(Date.now() - startedAt),
    rssBytes: BigInt(rss),
    heapUsedBytes: BigInt(heapUsed),
  }
}
