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
}

/** Failures in a row that make an instance unhealthy; one success makes it healthy again. */
const UNHEALTHY_AFTER = 2

/** Asks every instance over grpc.health.v1 how it is, at once after it joins and then at the interval. */
export function startHealthChecks(
  registry: Registry,
  { transport, intervalMs, timeoutMs, logger }: HealthCheckOptions,
): { close(): void } {
  const checks = new Map<string, { connection: Connection; timer: NodeJS.Timeout; incarnation: bigint }>()

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
    const timer = setInterval(() => void run(), intervalMs).unref()
    checks.set(member.instanceId, { connection, timer, incarnation: member.incarnation })
    void run()
  }

  function stop(instanceId: string): void {
    const entry = checks.get(instanceId)
    if (!entry) return
    clearInterval(entry.timer)
    entry.connection.close()
    checks.delete(instanceId)
  }

  const unsubscribe = registry.onChange((change) => {
    if (!('member' in change)) return
    const { instanceId, incarnation, address } = change.member
    const current = checks.get(instanceId)
    if (change.kind === 'left') stop(instanceId)
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
