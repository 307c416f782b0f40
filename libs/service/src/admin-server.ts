import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { LifecycleState } from '@docmesh/contracts/ops/v1/diagnostics'
import type { Health, HealthReport, Metrics } from '@docmesh/telemetry'
import type { Lifecycle } from './lifecycle.ts'

export interface AdminServer {
  /** `host:port` as bound. */
  readonly address: string
  close(): Promise<void>
}

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

const json = (status: number, value: unknown): Answer => ({
  status,
  type: 'application/json',
  body: `${JSON.stringify(value)}\n`,
})

/** The HTTP port for probes and scrapes. Answers come from memory: a hanging dependency never blocks them. */
export async function startAdminServer(
  listen: string,
  { health, metrics, lifecycle }: { health: Health; metrics: Metrics; lifecycle: Lifecycle },
): Promise<AdminServer> {
  const routes: Record<string, () => Answer | Promise<Answer>> = {
    '/livez': () => json(200, { status: 'alive' }),
    '/startupz': () => probe(hasStarted(lifecycle), health.report()),
    '/readyz': () => probe(isReady(lifecycle, health.report()), health.report()),
    '/health': () => probe(health.report().state !== 'unhealthy', health.report()),
    '/metrics': async () => {
      const { contentType, body } = await metrics.render()
      return { status: 200, type: contentType, body }
    },
  }
  const server = createServer(async (request, response) => {
    const route = routes[(request.url ?? '').split('?', 1)[0] ?? '']
    const { status, type, body } = await (route?.() ??
      json(404, { error: 'not found', paths: Object.keys(routes) }))
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
  })
  await listening(server, listen)
  const { port } = server.address() as AddressInfo
  return {
    address: `${hostOf(listen)}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const probe = (ok: boolean, report: HealthReport): Answer => json(ok ? 200 : 503, report)

const hasStarted = (lifecycle: Lifecycle): boolean =>
  lifecycle.history().some(({ state }) => state === LifecycleState.READY)

/** A service without checks is ready once it has started. */
const isReady = (lifecycle: Lifecycle, { state, checks }: HealthReport): boolean =>
  lifecycle.state() === LifecycleState.READY &&
  (state === 'healthy' || state === 'degraded' || checks.length === 0)

const hostOf = (listen: string): string => listen.slice(0, listen.lastIndexOf(':'))

function listening(server: Server, listen: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new Error(`Cannot listen on ${listen}: ${error.message}`, { cause: error })),
    )
    server.listen(
      Number(listen.slice(listen.lastIndexOf(':') + 1)),
      hostOf(listen).replace(/[[\]]/g, ''),
      resolve,
    )
  })
}
