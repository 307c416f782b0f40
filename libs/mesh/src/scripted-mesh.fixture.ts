import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import {
  type Connection,
  createClient,
  type Handlers,
  implement,
  type Method,
  RpcError,
  routesOf,
  TransportError,
} from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { createChannel } from './channel.ts'
import { endpointNamed, seededRandom } from './endpoint.fixture.ts'
import type { Endpoint } from './endpoint.ts'
import { createEndpointSet } from './endpoint-set.ts'

/** What a call meets: an answer, an error that the server's handler throws, or a failure of the connection. */
export type Step = 'ok' | 'broken after one message' | RpcError | TransportError

/** A channel over endpoints that do as the script says, without a network. */
export function scriptedMesh({
  endpoints = ['a', 'b', 'c'].map((id) => endpointNamed(id)),
  script,
  synced = Promise.resolve(),
}: {
  endpoints?: readonly Endpoint[]
  /** Asked for each call that arrives; `at` counts all arrivals from 0. */
  script: (instanceId: string, at: number) => Step
  synced?: Promise<void>
}) {
  const arrivals: { readonly id: string; readonly attempt: unknown; readonly atMs: number }[] = []
  const ended: string[] = []
  const metrics = createMetrics({ service: 'test', version: '1', processMetrics: false })
  const set = createEndpointSet({ now: Date.now, random: seededRandom(1) })
  set.update(endpoints)

  function connectionTo(address: string): Connection {
    const id = address.slice(0, address.indexOf('.'))
    const arrive = (metadata: { [key: string]: unknown }): Step => {
      arrivals.push({ id, attempt: metadata['grpc-previous-rpc-attempts'], atMs: Date.now() })
      return script(id, arrivals.length - 1)
    }
    const answer = (step: Step) => {
      if (step instanceof RpcError) throw step
      return { document: { id } }
    }
    const route = ({ path }: Method, step: Step) => {
      const handlers: Handlers<typeof DocumentServiceDefinition> = {
        getDocument: async () => answer(step),
        updateDocument: async () => answer(step),
        uploadDocument: async () => answer(step),
        async *downloadDocument() {
          try {
            answer(step)
            yield { part: { $case: 'chunk', value: Buffer.from(id) } }
            if (step === 'broken after one message') throw new Error('x')
            yield { part: { $case: 'chunk', value: Buffer.from(id) } }
          } finally {
            ended.push(id)
          }
        },
      }
      const found = routesOf(implement(DocumentServiceDefinition, handlers), []).find(
        ({ method }) => method.path === path,
      )
      if (!found) throw new Error(`no method ${path}`)
      return found
    }
    const incoming = ({
      metadata,
      deadline,
    }: {
      metadata: Record<string, string | Uint8Array>
      deadline: number
    }) => ({
      metadata,
      deadline,
      peer: 'test',
      signal: new AbortController().signal,
    })
    return {
      address,
      async unary(call, request) {
        const step = arrive(call.metadata)
        if (step instanceof TransportError) throw step
        return route(call.method, step).unary(incoming(call), request)
      },
      async *stream(call, requests) {
        const step = arrive(call.metadata)
        if (step instanceof TransportError) throw step
        yield* route(call.method, step).stream(incoming(call), requests)
      },
      close() {},
    }
  }

  const channel = createChannel({
    service: 'document',
    endpoints: set,
    connectionTo,
    synced,
    metrics,
    logger: silentLogger,
    now: Date.now,
    random: () => 0.5,
  })
  /** A client whose methods are as idempotent as the test needs. */
  const client = (idempotency?: Method['idempotency']) =>
    createClient(DocumentServiceDefinition, (call) =>
      channel.call(idempotency ? { ...call, method: { ...call.method, idempotency } } : call),
    )
  const breaker = (methodClass: 'read' | 'write' | 'stream') => channel.breakers().get(methodClass)?.state()
  return { client, set, arrivals, ended, breaker, metrics }
}
