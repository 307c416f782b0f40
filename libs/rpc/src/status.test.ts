import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ERRORS, type Reason } from './catalogue.ts'
import { Code } from './codes.ts'
import { type RpcError, rpcError } from './errors.ts'
import { fromTransportError, toTransportError } from './status.ts'
import { TransportError } from './transport.ts'

const METHOD = '/docmesh.document.v1.DocumentService/GetDocument'
const across = (error: unknown): RpcError => fromTransportError(toTransportError(error), METHOD)

const text = fc.string({ unit: 'grapheme', maxLength: 20 })
/** Keys are written by programmers; the generated decoder cannot hold `__proto__`. */
const key = text.filter((name) => name !== '__proto__')
const options = fc.record(
  {
    fields: fc.array(fc.record({ field: text, description: text }), { maxLength: 4 }),
    resource: fc.record({ type: text, name: text }),
    quota: fc.record({ subject: text, description: text }),
    retryAfterMs: fc.nat({ max: 86_400_000 }),
    metadata: fc.dictionary(key, text, { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
  },
  { requiredKeys: [] },
)

describe('an RpcError that crosses the wire', () => {
  it('keeps code, reason, message, fields, resource, quota, retry time and metadata', () => {
    const reasons = fc.constantFrom(...(Object.keys(ERRORS) as Reason[]))
    fc.assert(
      fc.property(reasons, text, options, (reason, message, given) => {
        const sent = rpcError(reason, message, given)
        const { cause, ...received } = across(sent).options
        expect(across(sent)).toMatchObject({ code: sent.code, reason, message, retryable: sent.retryable })
        expect(received).toEqual(given)
        expect(cause).toBeInstanceOf(TransportError)
      }),
    )
  })

  it('carries the retry time as pushback, rounded up', () => {
    const { remote } = across(rpcError('OVERLOADED', 'busy', { retryAfterMs: 0.5 }))
    expect(remote).toEqual({ method: METHOD, connectionFailed: false, notSent: false, pushbackMs: 1 })
    expect(across(rpcError('OVERLOADED', 'busy')).remote?.pushbackMs).toBeUndefined()
  })

  it('takes no more room than every gRPC library has for trailers, and never loses its reason', () => {
    const unit = fc.constantFrom('x', 'é', '😀', '\ud800', 'ação ')
    const long = fc.tuple(unit, fc.nat(20_000)).map(([piece, times]) => piece.repeat(times))
    const facts = fc.record({ metadata: fc.dictionary(key, long, { maxKeys: 2 }) })
    const fields = fc.array(fc.record({ field: long, description: long }), { maxLength: 4 })
    fc.assert(
      fc.property(long, long, facts, fields, (message, name, { metadata }, fields) => {
        const resource = { type: 'document', name }
        const sent = toTransportError(rpcError('STALE_ETAG', message, { resource, metadata, fields }))
        const details = sent.metadata['grpc-status-details-bin'] ?? ''
        expect(encodeURI(sent.message).length + Math.ceil(details.length / 3) * 4).toBeLessThan(8_000)
        const told = fromTransportError(sent, METHOD)
        expect(told.reason).toBe('STALE_ETAG')
        const whole = message.toWellFormed()
        if (told.message !== whole) {
          expect(told.message.endsWith('…')).toBe(true)
          expect(whole.startsWith(told.message.slice(0, -1))).toBe(true)
          expect(encodeURI(whole).length).toBeGreaterThan(1_000)
        }
      }),
    )
  })

  it('leaves its cause behind', () => {
    const sent = toTransportError(rpcError('INTERNAL', 'broken', { cause: new Error('hunter2') }))
    expect(JSON.stringify(Object.values(sent.metadata).map(String)) + sent.message).not.toContain('hunter2')
  })
})

describe('an error of a dependency', () => {
  const remote = (code: Code) =>
    fromTransportError(new TransportError(code, 'detail of the dependency'), METHOD)

  it.each([
    [Code.NOT_FOUND, 'INTERNAL'],
    [Code.INVALID_ARGUMENT, 'INTERNAL'],
    [Code.UNAUTHENTICATED, 'INTERNAL'],
    [Code.UNAVAILABLE, 'DEPENDENCY_UNAVAILABLE'],
    [Code.RESOURCE_EXHAUSTED, 'DEPENDENCY_UNAVAILABLE'],
    [Code.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED'],
    [Code.CANCELLED, 'CANCELLED'],
  ])('with code %i is told as %s, without its words', (code, reason) => {
    const told = across(remote(code))
    expect(told.reason).toBe(reason)
    expect(told.message).not.toContain('detail')
  })
})

describe('a status that docmesh did not write', () => {
  it('is not hidden by garbage in grpc-status-details-bin', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (garbage) => {
        const error = new TransportError(Code.NOT_FOUND, 'no such thing', {
          'grpc-status-details-bin': Buffer.from(garbage),
        })
        expect(fromTransportError(error, METHOD)).toMatchObject({
          code: Code.NOT_FOUND,
          message: 'no such thing',
        })
      }),
      { numRuns: 500 },
    )
  })

  it('of text where bytes are due is read without details', () => {
    const error = new TransportError(Code.ABORTED, 'x', { 'grpc-status-details-bin': 'text' })
    expect(fromTransportError(error, METHOD)).toMatchObject({ code: Code.ABORTED, reason: 'UNKNOWN' })
  })

  it('says NO_ENDPOINT only if the call never left', () => {
    const unavailable = (notSent: boolean) =>
      fromTransportError(new TransportError(Code.UNAVAILABLE, 'x', {}, { notSent }), METHOD).reason
    expect(unavailable(true)).toBe('NO_ENDPOINT')
    expect(unavailable(false)).toBe('DEPENDENCY_UNAVAILABLE')
  })

  it.each(['', 'soon', '1.5', '1e3'])('has no pushback when it says %j', (pushback) => {
    const error = new TransportError(Code.UNAVAILABLE, 'x', { 'grpc-retry-pushback-ms': pushback })
    expect(fromTransportError(error, METHOD).remote?.pushbackMs).toBeUndefined()
  })
})

describe('an error that is not an RpcError', () => {
  it('is INTERNAL and says nothing, unless it is an abort', () => {
    expect(across(new Error('hunter2'))).toMatchObject({
      code: Code.INTERNAL,
      message: 'An internal error occurred.',
    })
    expect(across('hunter2')).toMatchObject({ code: Code.INTERNAL, message: 'An internal error occurred.' })
    expect(across(new DOMException('x', 'AbortError'))).toMatchObject({ code: Code.CANCELLED })
  })

  it('is UNAVAILABLE when the database does not answer, so that the call may be tried again', () => {
    const error = Object.assign(new Error('connect ECONNREFUSED'), { name: 'DatabaseUnavailable' })
    expect(across(error)).toMatchObject({
      code: Code.UNAVAILABLE,
      reason: 'DATABASE_UNAVAILABLE',
      message: 'The database does not answer.',
    })
  })
})
