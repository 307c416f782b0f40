import { AggregatedDiscoveryServiceDefinition } from '@docmesh/contracts/envoy/service/discovery/v3/ads'
import { ClientStatusDiscoveryServiceDefinition } from '@docmesh/contracts/envoy/service/status/v3/csds'
import { type CallContext, type Implementation, implement } from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { type Catalog, createCatalog } from './catalog.ts'
import { statusHandlers } from './csds.ts'
import { createDeltaSession } from './delta.ts'
import type { HostsOptions } from './hosts.ts'
import type { Session, SessionOptions, Verdict } from './session.ts'
import { createSotwSession } from './sotw.ts'
import type { MeshSource } from './source.ts'

export interface XdsFace {
  /** AggregatedDiscoveryService and ClientStatusDiscoveryService. */
  readonly implementations: readonly Implementation[]
  /** Open streams. */
  streams(): number
}

/** The mesh for stock gRPC clients and Envoy: xDS v3 over the same snapshot that native watchers get. */
export function xdsImplementations(
  source: MeshSource,
  metrics: Metrics,
  logger: Logger,
  { resolve }: Pick<HostsOptions, 'resolve'> = {},
): XdsFace {
  const catalog = createCatalog(source, resolve ? { resolve } : {})
  const streams = metrics.gauge('docmesh_registry_xds_streams')
  const responses = metrics.counter('docmesh_registry_xds_responses_total')
  const sessions = new Set<Session<never, unknown>>()
  const onVerdict = ({ kind, nodeId, error }: Verdict): void => {
    responses.inc({ type: kind, outcome: error === undefined ? 'ack' : 'nack' })
    if (error !== undefined)
      logger.warn({ node: nodeId, type: kind, error }, 'an xDS client refused what it was sent')
  }

  const serve = <Request, Response>(create: (options: SessionOptions) => Session<Request, Response>) =>
    async function* (requests: AsyncIterable<Request>, { signal }: CallContext): AsyncIterable<Response> {
      const session = create({ now: () => new Date(), onVerdict })
      const { variant } = session
      sessions.add(session)
      streams.inc({ variant })
      try {
        yield* converse(session, catalog, requests, signal)
      } finally {
        sessions.delete(session)
        streams.dec({ variant })
      }
    }

  return {
    streams: () => sessions.size,
    implementations: [
      implement(AggregatedDiscoveryServiceDefinition, {
        streamAggregatedResources: serve(createSotwSession),
        deltaAggregatedResources: serve(createDeltaSession),
      }),
      implement(ClientStatusDiscoveryServiceDefinition, statusHandlers(sessions)),
    ],
  }
}

/**
 * Takes requests as they come and makes a response only when the transport wants one, so that a client that reads slowly
 * gets the newest state and nothing is queued for it.
 */
async function* converse<Request, Response>(
  session: Session<Request, Response>,
  catalog: Catalog,
  requests: AsyncIterable<Request>,
  signal: AbortSignal,
): AsyncIterable<Response> {
  let wake = (): void => {}
  let ended: { readonly error?: unknown } | undefined
  const end = (reason: { readonly error?: unknown }): void => {
    ended ??= reason
    wake()
  }
  const forget = catalog.onChange(() => wake())
  const onAbort = (): void => end({})
  signal.addEventListener('abort', onAbort, { once: true })
  const read = async (): Promise<void> => {
    for await (const request of requests) {
      if (ended) return
      session.receive(request)
      wake()
    }
  }
  read().then(
    () => end({}),
    (error: unknown) => end({ error }),
  )
  try {
    while (!ended) {
      const response = session.next(catalog.current())
      if (response !== undefined) {
        yield response
        continue
      }
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    if (ended.error !== undefined && !signal.aborted) throw ended.error
  } finally {
    ended ??= {}
    forget()
    signal.removeEventListener('abort', onAbort)
  }
}
