import {
  HealthDefinition,
  HealthCheckResponse_ServingStatus as Serving,
} from '@docmesh/contracts/grpc/health/v1/health'
import { type ClientTransport, type Connection, createClient, sendOver } from '@docmesh/rpc'
import type { Logger } from '@docmesh/telemetry'
import type { Member } from './member.ts'
import type { Registry } from './registry.ts'

export interface HealthCheckOptions {
  readonly transport: ClientTransport
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly logger: Logger
  readonly random: () => number
}

interface Checked {
  readonly connection: Connection
  readonly incarnation: bigint
  /** Of the next check. */
  timer: NodeJS.Timeout | undefined
}

/** Failures in a row that make an instance unhealthy; one success makes it healthy again. */
const UNHEALTHY_AFTER = 2

/** Share of the interval by which each is shorter or longer, so that no pause of this process lines the checks up. */
const JITTER = 0.1
const FIRST_JITTER = 0.5

/**
 * Asks every instance over grpc.health.v1 how it is, at once after it joins and then at the interval, until it leaves or
 * drains: then it has said itself that it serves no more. The second check comes anywhere around the interval: all
 * instances join together when this replica has started, and a thousand checks at once would take longer than one may.
 */
export function startHealthChecks(
  registry: Registry,
  { transport, intervalMs, timeoutMs, logger, random }: HealthCheckOptions,
): { close(): void } {
  const checks = new Map<string, Checked>()

  function start(member: Member): void {
    stop(member.instanceId)
    const connection = transport.connect(member.address)
    const { check } = createClient(HealthDefinition, sendOver(connection))
    let failures = 0
    const run = async (): Promise<void> => {
      const begun = performance.now()
      const fault = await check({ service: '' }, { timeoutMs }).then(
        ({ status }) => (status === Serving.SERVING ? '' : 'answers that it does not serve'),
        (error: Error) => error.message,
      )
      if (checks.get(member.instanceId)?.connection !== connection) return // it has left, or moved
      const serving = fault === ''
      failures = serving ? 0 : failures + 1
      if (failures === UNHEALTHY_AFTER) {
        logger.warn(
          { instance: { service: member.service, id: member.instanceId, address: member.address }, fault },
          'instance fails its health checks',
        )
      }
      if (serving || failures >= UNHEALTHY_AFTER) {
        registry.setHealth(
          member.instanceId,
          member.incarnation,
          serving ? 'healthy' : 'unhealthy',
          performance.now() - begun,
          fault,
        )
      }
    }
    const entry: Checked = { connection, incarnation: member.incarnation, timer: undefined }
    const runAndRepeat = (jitter: number): void => {
      const nextMs = intervalMs * (1 + jitter * (2 * random() - 1))
      entry.timer = setTimeout(() => runAndRepeat(JITTER), nextMs).unref()
      void run()
    }
    checks.set(member.instanceId, entry)
    runAndRepeat(FIRST_JITTER)
  }

  function stop(instanceId: string): void {
    const entry = checks.get(instanceId)
    if (!entry) return
    clearTimeout(entry.timer)
    entry.connection.close()
    checks.delete(instanceId)
  }

  const unsubscribe = registry.onChange((change) => {
    if (!('member' in change)) return
    const { instanceId, incarnation, address, state } = change.member
    const current = checks.get(instanceId)
    if (change.kind === 'left' || state === 'draining') stop(instanceId)
    else if (current?.incarnation !== incarnation || current.connection.address !== address)
      start(change.member)
  })
  return {
    close() {
      unsubscribe()
      for (const instanceId of [...checks.keys()]) stop(instanceId)
    },
  }
}
