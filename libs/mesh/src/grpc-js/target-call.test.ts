import { Code, fromGrpcStatus, grpcJsClient, type RpcError, rpcError } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { Metadata } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { createChannel } from '../channel.ts'
import { endpointNamed, seededRandom } from '../endpoint.fixture.ts'
import { createEndpointSet } from '../endpoint-set.ts'
import { createIncidentLog } from '../incident.ts'
import { compileTrafficPolicy, type TrafficRoute } from '../traffic-policy.ts'
import { readContract } from './contract.ts'
import { createTargetCall, type Turn } from './target-call.ts'
import { targetService } from './target-service.ts'

const methodAt = readContract()
const READ = '/docmesh.document.v1.DocumentService/GetDocument'
const FOREIGN = '/acme.v1.Orders/Place'
const STREAM = '/docmesh.document.v1.DocumentService/DownloadDocument'

type LinkState = 'connecting' | 'ready' | 'failed'

/** Calls over instances that are connected as said. */
function service(
  links: Readonly<Record<string, LinkState>>,
  versions: Readonly<Record<string, string>> = {},
) {
  const now = (): number => 0
  const endpoints = createEndpointSet({ now, random: seededRandom(1) })
  endpoints.update(Object.keys(links).map((id) => endpointNamed(id, { version: versions[id] ?? '1' })))
  const refusals: string[] = []
  const policy = () => compileTrafficPolicy(undefined)
  const { sharing } = createChannel({
    service: 'document',
    endpoints,
    connectionTo: () => grpcJsClient.connect('127.0.0.1:1'),
    policy,
    incidents: createIncidentLog(),
    synced: Promise.resolve(),
    metrics: createMetrics({ service: 'test', version: '1', processMetrics: false }),
    logger: silentLogger,
    now,
    random: seededRandom(2),
  })
  const reach = {
    stateOf: (id: string) => links[id],
    notReady: new Set(Object.keys(links).filter((id) => links[id] !== 'ready')),
  }
  const shared = targetService('document', { ...sharing, endpoints, policy })
  const refused = (reason: string): unknown => refusals.push(reason)
  const target = { ...shared, count: { ...shared.count, refused } }
  return {
    refusals,
    call(path = READ, route: TrafficRoute = {}) {
      const call = createTargetCall(target, { method: methodAt(path), route, now })
      return { ...call, next: () => call.next(reach), copy: () => call.copy(reach) }
    },
    budget: sharing.budget,
    /** What the log says, oldest first. */
    decided: () =>
      sharing.decisions
        .list(256)
        .toReversed()
        .map(({ attempt, reason, picked, code }) => `${attempt} ${reason} ${picked || '-'} ${code || '-'}`),
    pending: () => endpoints.list().reduce((sum, { pending }) => sum + pending, 0),
    states: () => endpoints.list().map(({ state }) => state),
  }
}

function sent(turn: Turn) {
  if (turn.kind !== 'send') throw new Error(turn.kind)
  return turn
}

/** As it comes from an instance that refuses. */
const unavailable = (pushbackMs?: number): RpcError => {
  const metadata = new Metadata()
  if (pushbackMs !== undefined) metadata.set('grpc-retry-pushback-ms', String(pushbackMs))
  return fromGrpcStatus({ code: Code.UNAVAILABLE, details: 'going away', metadata })
}

const broken = (): RpcError => rpcError('INTERNAL', 'broken')

describe('what a call holds of an instance', () => {
  it('is given back when its attempt ends', () => {
    const { call, pending } = service({ a: 'ready' })
    const { attempt } = sent(call().next())
    attempt.started()
    expect(pending()).toBe(1)
    attempt.ended(undefined)
    expect(pending()).toBe(0)
  })

  it('is given back when the transport drops the attempt and asks for another', () => {
    const { call, pending } = service({ a: 'ready' })
    const { next } = call()
    next()
    sent(next()).attempt.ended(undefined)
    expect(pending()).toBe(0)
  })

  it('is given back when the call is over before it was sent', () => {
    const { call, pending } = service({ a: 'ready' })
    const { next, end } = call()
    next()
    end(Code.CANCELLED)
    expect(pending()).toBe(0)
  })

  it('is held while a begun attempt ends after the next has been chosen, and then given back', () => {
    const { call, pending } = service({ a: 'ready', b: 'ready' })
    const { next } = call()
    const first = sent(next())
    first.attempt.started()
    const second = sent(next())
    expect(pending()).toBe(2)
    first.attempt.ended(broken())
    second.attempt.ended(undefined)
    expect(pending()).toBe(0)
  })

  it('of a stream is given back when the answer begins', () => {
    const { call, pending } = service({ a: 'ready' })
    const { next, answered } = call(STREAM)
    const { attempt } = sent(next())
    attempt.started()
    answered()
    expect(pending()).toBe(0)
    attempt.ended(broken())
    expect(pending()).toBe(0)
  })

  it('is given back when a breaker refuses the attempt', () => {
    const { call, pending, refusals } = service({ a: 'ready' })
    for (let i = 0; i < 20; i++) sent(call().next()).attempt.ended(broken())
    expect(call().next()).toMatchObject({ kind: 'refuse', error: { reason: 'CIRCUIT_OPEN' } })
    expect([pending(), refusals]).toEqual([0, ['circuit_open']])
  })
})

describe('the choice for an attempt', () => {
  it('is not the instance that was tried', () => {
    const { call } = service({ a: 'ready', b: 'ready' })
    for (let i = 0; i < 20; i++) {
      const { next, end } = call()
      const first = sent(next())
      first.attempt.started()
      first.attempt.ended(undefined)
      expect(sent(next()).instanceId).not.toBe(first.instanceId)
      end(Code.CANCELLED)
    }
  })

  it('is the instance that was tried rather than one that is not connected', () => {
    const { call } = service({ a: 'ready', b: 'failed' })
    const { next } = call()
    sent(next()).attempt.started()
    expect(sent(next()).instanceId).toBe('a')
  })

  it('waits while instances connect, and tells when none could be reached', () => {
    expect(service({ a: 'connecting' }).call().next()).toEqual({ kind: 'wait' })
    expect(service({ a: 'failed' }).call().next()).toEqual({ kind: 'unreachable', instanceId: 'a' })
  })

  it('is of the version of the policy, waits for it, and is any other when it cannot be reached', () => {
    const versions = { a: '1', b: '2' }
    const route = { version: '2' }
    expect(sent(service({ a: 'ready', b: 'ready' }, versions).call(READ, route).next()).instanceId).toBe('b')
    expect(service({ a: 'ready', b: 'connecting' }, versions).call(READ, route).next().kind).toBe('wait')
    expect(sent(service({ a: 'ready', b: 'failed' }, versions).call(READ, route).next()).instanceId).toBe('a')
  })

  it('counts as refused only if there is no instance of any version', () => {
    const { call, refusals } = service({ a: 'ready' })
    expect(sent(call(READ, { version: '9' }).next()).instanceId).toBe('a')
    expect(refusals).toEqual([])
    const nobody = service({})
    expect(nobody.call().next()).toMatchObject({ kind: 'refuse', error: { reason: 'NO_ENDPOINT' } })
    expect(nobody.refusals).toEqual(['no_endpoint'])
  })

  it('is nobody once the call is over', () => {
    const { next, end } = service({ a: 'ready' }).call()
    end(Code.CANCELLED)
    expect(next()).toMatchObject({ kind: 'refuse', error: { reason: 'CANCELLED' } })
  })
})

/** One attempt that is sent and ends like this. */
function fail(call: { next(): Turn }, error: RpcError): string {
  const { attempt, instanceId } = sent(call.next())
  attempt.started()
  attempt.ended(error)
  return instanceId
}

describe('a repetition', () => {
  it('is paid from the budget of the mesh, and the client gets the failure when that is spent', () => {
    const { call, budget, decided } = service({ a: 'ready', b: 'ready' })
    while (budget.tryWithdraw());
    const late = call()
    const id = fail(late, unavailable())
    expect(late.next()).toEqual({ kind: 'give up' })
    expect(decided()).toEqual([`1 least_cost ${id} UNAVAILABLE`, '2 retry_denied_budget - UNAVAILABLE'])
  })

  it('is paid once, however often the transport asks for it', () => {
    const { call, budget } = service({ a: 'ready', b: 'ready' })
    const again = call()
    fail(again, unavailable())
    again.next()
    while (budget.tryWithdraw());
    expect(again.next().kind).toBe('send')
  })

  it('that the transport makes because nobody looked at the request is free', () => {
    const { call, budget } = service({ a: 'ready', b: 'ready' })
    while (budget.tryWithdraw());
    const refused = call()
    sent(refused.next()).attempt.started()
    expect(refused.next().kind).toBe('send')
  })

  it.each([
    ['a call that must not be repeated', FOREIGN, unavailable(), 'not_idempotent'],
    ['an answer that asks for none', READ, unavailable(-1), 'pushback'],
  ])('is denied to %s, and the log says so', (_, path, error, why) => {
    const { call, decided } = service({ a: 'ready' })
    fail(call(path), error)
    expect(decided()).toEqual(['1 only a UNAVAILABLE', `2 retry_denied_${why} - UNAVAILABLE`])
  })

  it('that did not come before the deadline is in the log', () => {
    const { call, decided } = service({ a: 'ready' })
    const late = call()
    fail(late, unavailable())
    late.end(Code.DEADLINE_EXCEEDED)
    expect(decided()[1]).toBe('2 retry_denied_deadline - DEADLINE_EXCEEDED')
  })

  it('is not looked for after an answer that others would give too', () => {
    const { call, decided } = service({ a: 'ready' })
    const once = call()
    fail(once, broken())
    once.end(Code.INTERNAL)
    expect(decided()).toEqual(['1 only a INTERNAL'])
  })
})

describe('a copy of a late attempt', () => {
  it('goes to another instance, and counts as an attempt', () => {
    const { call, decided } = service({ a: 'ready', b: 'ready', c: 'ready' })
    const late = call()
    const first = sent(late.next())
    first.attempt.started()
    const copy = late.copy()
    copy?.attempt.started()
    expect(copy).toMatchObject({ previousAttempts: 1 })
    expect(copy?.instanceId).not.toBe(first.instanceId)
    copy?.attempt.settle(undefined)
    expect(decided()).toEqual([`1 least_cost ${first.instanceId} -`, `2 hedge ${copy?.instanceId} OK`])
    first.attempt.ended(unavailable())
    const third = sent(late.next())
    third.attempt.started()
    third.attempt.ended(unavailable())
    expect([late.copy(), late.next()]).toEqual([undefined, { kind: 'give up' }])
  })

  it('is not sent when there is nobody else, nor when the call is over', () => {
    const { call, pending } = service({ a: 'ready', b: 'failed' })
    const late = call()
    sent(late.next()).attempt.started()
    expect([late.copy(), pending()]).toEqual([undefined, 1])
    late.end(Code.CANCELLED)
    const over = service({ a: 'ready', b: 'ready' }).call()
    sent(over.next()).attempt.started()
    over.end(Code.CANCELLED)
    expect(over.copy()).toBeUndefined()
  })

  it('is not sent when the budget is spent', () => {
    const { call, budget, decided, pending } = service({ a: 'ready', b: 'ready' })
    while (budget.tryWithdraw());
    const late = call()
    sent(late.next()).attempt.started()
    expect([late.copy(), pending()]).toEqual([undefined, 1])
    expect(decided().at(-1)).toBe('2 retry_denied_budget - -')
  })
})
