import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import {
  Code,
  type Connection,
  createClient,
  type Handlers,
  implement,
  type Metadata,
  type Method,
  RpcError,
  routesOf,
  TransportError,
} from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { vi } from 'vitest'
import { abortable } from './abortable.ts'
import type { AdmissionOptions } from './admission.ts'
import { createChannel } from './channel.ts'
import { endpointNamed, seededRandom } from './endpoint.fixture.ts'
import type { Endpoint } from './endpoint.ts'
import { createEndpointSet } from './endpoint-set.ts'
import { createIncidentLog } from './incident.ts'
import { compileTrafficPolicy } from './traffic-policy.ts'

/**
 * What a call meets: an answer, after so many milliseconds or never, an error that the server's handler throws, or a
 * failure of the connection.
 */
export type Step = 'ok' | 'hangs' | number | 'broken after one message' | RpcError | TransportError

type OutgoingCall = Parameters<Connection['unary']>[0]
type PolicyInput = Parameters<typeof TrafficPolicy.fromPartial>[0]

export interface Arrival {
  readonly id: string
  /** How many attempts came before, as the metadata says. */
  readonly attempt: unknown
  readonly atMs: number
  readonly metadata: Metadata
}

/** Lets time pass until the call has ended; answers with what it rejected with, if it did. */
export async function settled<T>(call: Promise<T>): Promise<{ value?: T; error?: unknown }> {
  const result = call.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  await vi.runAllTimersAsync()
  return result
}

/** A channel over endpoints that do as the script says, without a network. */
export function scriptedMesh({
  endpoints = ['a', 'b', 'c'].map((id) => endpointNamed(id)),
  script,
  synced = Promise.resolve(),
  policy,
  options,
  maxPending,
}: {
  endpoints?: readonly Endpoint[]
  /** Asked for each call that arrives; `at` counts all arrivals from 0. */
  script: (instanceId: string, at: number) => Step
  synced?: Promise<void>
  policy?: PolicyInput
  options?: AdmissionOptions
  maxPending?: number
}) {
  const arrivals: Arrival[] = []
  const ended: string[] = []
  const metrics = createMetrics({ service: 'test', version: '1', processMetrics: false })
  const set = createEndpointSet({
    now: Date.now,
    random: seededRandom(1),
    ...(maxPending && { maxPending }),
  })
  set.update(endpoints)

  function connectionTo(address: string): Connection {
    const id = address.slice(0, address.indexOf('.'))
    const arrive = async (call: OutgoingCall): Promise<Step> => {
      const { metadata, deadline, signal = new AbortController().signal } = call
      const attempt = metadata['grpc-previous-rpc-attempts']
      arrivals.push({ id, attempt, atMs: Date.now(), metadata })
      const step = script(id, arrivals.length - 1)
      if (step !== 'hangs' && typeof step !== 'number') return step
      await abortable(Math.min(step === 'hangs' ? Infinity : step, deadline - Date.now()), signal)
      if (signal.aborted) return new TransportError(Code.CANCELLED, 'cancelled')
      return Date.now() < deadline ? 'ok' : new TransportError(Code.DEADLINE_EXCEEDED, 'too late')
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
        const step = await arrive(call)
        if (step instanceof TransportError) throw step
        return route(call.method, step).unary(incoming(call), request)
      },
      async *stream(call, requests) {
        const step = await arrive(call)
        if (step instanceof TransportError) throw step
        yield* route(call.method, step).stream(incoming(call), requests)
      },
      close() {},
    }
  }

  let compiled = compileTrafficPolicy(policy && TrafficPolicy.fromPartial(policy))
  const usePolicy = (next: PolicyInput): void => {
    compiled = compileTrafficPolicy(TrafficPolicy.fromPartial(next))
  }
  const incidents = createIncidentLog()
  const channel = createChannel(
    {
      service: 'document',
      endpoints: set,
      connectionTo,
      policy: () => compiled,
      incidents,
      synced,
      metrics,
      logger: silentLogger,
      now: Date.now,
      random: () => 0.5,
    },
    options,
  )
  /** A client whose methods are as idempotent as the test needs. */
  const client = (idempotency?: Method['idempotency'], send = channel.call) =>
    createClient(DocumentServiceDefinition, (call) =>
      send(idempotency ? { ...call, method: { ...call.method, idempotency } } : call),
    )
  const breaker = (methodClass: 'read' | 'write' | 'stream') => channel.breakers().get(methodClass)?.state()
  /** Lines of a metric of this service, without what they have in common. */
  const counted = async (name: string): Promise<string[]> =>
    (await metrics.render()).body
      .split('\n')
      .filter((line) => line.startsWith(`${name}{service="document"`))
      .map((line) => line.replace(`${name}{service="document"`, '').replace(/^,/, '').replace('}', ''))
  /** What the log says of each attempt or refusal, oldest first. */
  const decided = (): string[] =>
    channel
      .decisions(256)
      .toReversed()
      .map(({ attempt, reason, picked, code }) => `${attempt} ${reason} ${picked || '-'} ${code || '-'}`)
  return { channel, client, set, arrivals, ended, breaker, metrics, counted, decided, incidents, usePolicy }
}
