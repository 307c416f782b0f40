import type { CounterCell, HistogramCell, Logger, LogLevel, Metrics } from '@docmesh/telemetry'
import { Code, codeName } from './codes.ts'
import { currentCall } from './context.ts'
import { RpcError } from './errors.ts'
import { type Layer, settle } from './layer.ts'
import type { Method } from './method.ts'
import { outward } from './status.ts'

const METRICS = {
  server: { handled: 'grpc_server_handled_total', seconds: 'grpc_server_handling_seconds' },
  client: { handled: 'grpc_client_handled_total', seconds: 'grpc_client_handling_seconds' },
} as const

/** Counts and times every call by service, method and the code that its caller sees. */
export function metricsLayer(metrics: Metrics, side: 'server' | 'client'): Layer {
  const handled = metrics.counter(METRICS[side].handled)
  const seconds = metrics.histogram(METRICS[side].seconds)
  const codeSeen = side === 'server' ? (error: unknown) => outward(error).code : codeOfError
  const cells = new Map<Method, { ok: CounterCell; seconds: HistogramCell }>()
  const cellsOf = (method: Method) => {
    let entry = cells.get(method)
    if (!entry) {
      const labels = { grpc_service: method.service, grpc_method: method.name }
      entry = { ok: handled.labels({ ...labels, grpc_code: 'OK' }), seconds: seconds.labels(labels) }
      cells.set(method, entry)
    }
    return entry
  }
  return (next) => (call) => {
    const { method } = call
    const begun = performance.now()
    return settle(method, next(call), (error) => {
      const entry = cellsOf(method)
      entry.seconds.observe((performance.now() - begun) / 1000)
      if (error === undefined) entry.ok.inc()
      else
        handled.inc({
          grpc_service: method.service,
          grpc_method: method.name,
          grpc_code: codeName(codeSeen(error)),
        })
    })
  }
}

export const codeOfError = (error: unknown): Code =>
  error instanceof RpcError
    ? error.code
    : error instanceof Error && error.name === 'AbortError'
      ? Code.CANCELLED
      : Code.INTERNAL

/** What nobody would write need not be put together. */
const LOGS_SUCCESS = new Set<LogLevel>(['trace', 'debug'])
const SERVER_FAULTS = new Set<Code>([Code.UNKNOWN, Code.INTERNAL, Code.DATA_LOSS])

/**
 * Logs every failed call once, with its whole cause, where it leaves the process: `error` for faults of this side and of
 * what it depends on, `info` for answers that the caller has to act on, and successful calls at `debug`.
 */
export function logLayer(logger: Logger): Layer {
  return (next) => (call) => {
    const { method } = call
    const begun = performance.now()
    return settle(method, next(call), (error) => {
      if (error === undefined && !LOGS_SUCCESS.has(logger.level)) return
      const fields = { rpc: `${method.service}/${method.name}`, ms: Math.round(performance.now() - begun) }
      if (error === undefined) return logger.debug(fields, 'call answered')
      const { code } = outward(error)
      const passedOn = error instanceof RpcError && error.remote !== undefined && code !== Code.CANCELLED
      const level = passedOn || SERVER_FAULTS.has(code) ? 'error' : 'info'
      logger[level]({ ...fields, code: codeName(code), err: error }, 'call failed')
    })
  }
}

/** Fields that every log line of a call carries. */
export const callLogFields = (): Record<string, string> | undefined => {
  const call = currentCall()
  if (!call) return undefined
  return call.userId ? { request_id: call.requestId, user_id: call.userId } : { request_id: call.requestId }
}
