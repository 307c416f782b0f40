import { Code, RpcError, rpcError } from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { fakeClock } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { type AdmissionOptions, createAdmission } from './admission.ts'
import type { MethodClass } from './breakers.ts'
import { createIncidentLog } from './incident.ts'

const answered = (code: Code, reason = 'X', connectionFailed = false) =>
  new RpcError(
    code,
    reason,
    'x',
    {},
    { method: '/x/Y', connectionFailed, notSent: false, pushbackMs: undefined },
  )
const overloaded = answered(Code.RESOURCE_EXHAUSTED, 'OVERLOADED')
const unavailable = answered(Code.UNAVAILABLE)
const dropped = answered(Code.UNAVAILABLE, 'X', true)
const late = answered(Code.DEADLINE_EXCEEDED)
const failed = answered(Code.INTERNAL)

/** Refuses whatever it may refuse. */
function caller(options: AdmissionOptions = {}, available = 3) {
  const clock = fakeClock(1_000_000)
  const incidents = createIncidentLog({ now: clock.now })
  const metrics = createMetrics({ service: 'test', version: '1', processMetrics: false })
  const admission = createAdmission(options, {
    service: 'document',
    metrics,
    logger: silentLogger,
    incidents,
    now: clock.now,
    random: () => 0,
    available: () => available,
  })
  /** Makes a call that ends so, and says why not if it is refused. */
  function call(error?: unknown, { methodClass = 'read', ms = 1, method = '' }: CallShape = {}): string {
    const permit = admission.admit(methodClass)
    if (permit instanceof RpcError) return permit.reason
    admission.report(permit, error, ms, method)
    return 'sent'
  }
  const calls = (times: number, error?: unknown, shape?: CallShape): string[] => [
    ...new Set(Array.from({ length: times }, () => call(error, shape))),
  ]
  const state = (methodClass: MethodClass = 'read') => admission.breakers.of(methodClass).state()
  return { admission, call, calls, state, clock, incidents, metrics }
}

interface CallShape {
  readonly methodClass?: MethodClass
  readonly ms?: number
  readonly method?: string
}

describe('a service that refuses calls because it has too much to do', () => {
  it('is asked less by every class of methods, and told when to ask again', () => {
    const { admission, calls } = caller()
    expect(calls(7, overloaded, { methodClass: 'write' })).toEqual(['sent', 'THROTTLED'])
    expect(admission.admit('read')).toMatchObject({
      code: Code.UNAVAILABLE,
      reason: 'THROTTLED',
      options: { retryAfterMs: 1_000 },
    })
  })

  it('does not make the breaker count what was not sent', () => {
    const { calls, state } = caller()
    calls(1_000, overloaded)
    expect(state()).toBe('CLOSED')
  })

  it('is asked as before when it refuses one call of three', () => {
    const { call } = caller()
    const results = Array.from({ length: 300 }, (_, at) => call(at % 3 === 0 ? overloaded : undefined))
    expect(new Set(results)).toEqual(new Set(['sent']))
  })

  it('is asked again ten seconds later', () => {
    const { calls, clock } = caller()
    calls(100, overloaded)
    clock.advance(10_000)
    expect(calls(5)).toEqual(['sent'])
  })
})

describe('the throttle has nothing against', () => {
  it.each([
    ['what the caller has to act on', answered(Code.NOT_FOUND)],
    ['uploads that are too large', answered(Code.RESOURCE_EXHAUSTED, 'DOCUMENT_TOO_LARGE')],
    ['calls that their callers cancelled', answered(Code.CANCELLED)],
    ['broken connections, while there is an endpoint to choose', dropped],
    ['a fault of this process', new TypeError('x')],
  ])('%s; neither has the breaker', (_, error) => {
    const { calls, state } = caller()
    expect(calls(500, error)).toEqual(['sent'])
    expect(state()).toBe('CLOSED')
  })

  it.each([
    ['late answers', late],
    ['an outage', unavailable],
    ['failures', failed],
    ['broken connections when no endpoint is left', dropped],
  ])('%s: that is for the breaker, and the first calls after it are sent', (_, error) => {
    const { calls, state, clock } = caller({}, 0)
    expect(calls(100, error)).toEqual(['sent', 'CIRCUIT_OPEN'])
    clock.advance(12_000)
    expect(calls(100)).toEqual(['sent'])
    expect(state()).toBe('CLOSED')
  })

  it('many calls at once', () => {
    const { admission } = caller()
    const permits = Array.from({ length: 1_000 }, () => admission.admit('read'))
    expect(permits.filter((permit) => permit instanceof RpcError)).toEqual([])
  })
})

describe('the breakers', () => {
  it('are one for each class of methods', () => {
    const { calls, state } = caller()
    calls(20, failed, { methodClass: 'write' })
    expect([state('read'), state('write'), state('stream')]).toEqual(['CLOSED', 'OPEN', 'CLOSED'])
  })

  it('open when every call takes longer than its own method may', () => {
    const options = { slowCallMs: { GetDocument: 100, SearchDocuments: 2_000 } }
    const slow = caller(options)
    slow.calls(10, undefined, { method: 'GetDocument', ms: 101 })
    slow.calls(10, undefined, { method: 'SearchDocuments', ms: 2_001 })
    expect(slow.state()).toBe('OPEN')
    const fast = caller(options)
    fast.calls(100, undefined, { method: 'GetDocument', ms: 101 })
    expect(fast.state()).toBe('OPEN')
    const mixed = caller(options)
    for (let i = 0; i < 50; i++) {
      mixed.call(undefined, { method: 'GetDocument', ms: 101 })
      mixed.call(undefined, { method: 'SearchDocuments', ms: 1_999 })
      mixed.call(undefined, { method: 'ListDocuments', ms: 60_000 })
    }
    expect(mixed.state()).toBe('CLOSED')
  })

  it('take the slow threshold of the breaker for methods that have none of their own', () => {
    const { calls, state } = caller({ breaker: { trip: { kind: 'RATE', slowCallMs: 50 } } })
    calls(20, undefined, { method: 'GetDocument', ms: 51 })
    expect(state()).toBe('OPEN')
  })

  it('can count failures in a row instead', () => {
    const { calls, state } = caller({ breaker: { trip: { kind: 'CONSECUTIVE', failureThreshold: 3 } } })
    calls(2, failed)
    calls(1)
    calls(2, failed)
    expect(state()).toBe('CLOSED')
    calls(1, failed)
    expect(state()).toBe('OPEN')
  })

  it('tell of each change as an incident and a metric', async () => {
    const { calls, clock, incidents, metrics } = caller()
    calls(20, failed)
    clock.advance(12_000)
    calls(3)
    expect(incidents.list(10).map(({ kind, methodClass, reason }) => [kind, methodClass, reason])).toEqual([
      ['circuit_closed', 'read', ''],
      ['circuit_half_opened', 'read', ''],
      ['circuit_opened', 'read', 'failure_rate'],
    ])
    const { body } = await metrics.render()
    const labels = 'service="document",method_class="read"'
    expect(body).toContain(`docmesh_mesh_breaker_state{${labels}} 0`)
    for (const to of ['open', 'half_open', 'closed'])
      expect(body).toContain(`docmesh_mesh_breaker_transitions_total{${labels},to="${to}"} 1`)
  })

  it('give back the place of a probe that was not sent', () => {
    const { admission, calls, clock, state } = caller()
    calls(20, failed)
    clock.advance(12_000)
    for (let i = 0; i < 10; i++) {
      const permit = admission.admit('read')
      if (!(permit instanceof RpcError)) permit.ignore()
    }
    expect(calls(3)).toEqual(['sent'])
    expect(state()).toBe('CLOSED')
  })

  it('refuse a slow threshold that is none', () => {
    expect(() => caller({ slowCallMs: { GetDocument: 0 } })).toThrow('GetDocument is 0')
  })
})

describe('an error that this process made', () => {
  it('is judged by its code like one from afar', () => {
    const { calls } = caller()
    expect(calls(20, rpcError('OVERLOADED', 'x'))).toEqual(['sent', 'THROTTLED'])
  })
})
