import { Code, RpcError, rpcError } from '@docmesh/rpc'
import { describe, expect, it } from 'vitest'
import { isNeutral, isRefusal, outcomeOf } from './outcome.ts'

const failed = (code: Code, { connectionFailed = false, notSent = false } = {}) =>
  new RpcError(code, 'X', 'x', {}, { method: '/x/Y', connectionFailed, notSent, pushbackMs: undefined })

const NEUTRAL: Code[] = [
  Code.INVALID_ARGUMENT,
  Code.NOT_FOUND,
  Code.ALREADY_EXISTS,
  Code.ABORTED,
  Code.FAILED_PRECONDITION,
  Code.OUT_OF_RANGE,
  Code.UNIMPLEMENTED,
  Code.PERMISSION_DENIED,
  Code.UNAUTHENTICATED,
]
const BAD: Code[] = [
  Code.UNKNOWN,
  Code.DEADLINE_EXCEEDED,
  Code.RESOURCE_EXHAUSTED,
  Code.INTERNAL,
  Code.UNAVAILABLE,
  Code.DATA_LOSS,
]

describe('an answer', () => {
  it('that the caller has to act on is a success of the endpoint', () => {
    for (const code of NEUTRAL)
      expect([code, isNeutral(failed(code)), outcomeOf(failed(code))]).toEqual([code, true, 'SUCCESS'])
  })

  it('of every other code counts against the service', () => {
    for (const code of BAD) expect([code, isNeutral(failed(code))]).toEqual([code, false])
    const sorted = [...NEUTRAL, ...BAD, Code.OK, Code.CANCELLED].toSorted((a, b) => a - b)
    expect(sorted).toEqual(Object.values(Code))
  })

  it('that says the endpoint cannot answer is a transport failure', () => {
    expect(outcomeOf(failed(Code.UNAVAILABLE))).toBe('TRANSPORT')
    expect(outcomeOf(failed(Code.DEADLINE_EXCEEDED))).toBe('TRANSPORT')
  })

  it('that says the endpoint failed is an error', () => {
    for (const code of [Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS, Code.RESOURCE_EXHAUSTED])
      expect([code, outcomeOf(failed(code))]).toEqual([code, 'ERROR'])
  })
})

describe('RESOURCE_EXHAUSTED', () => {
  it("is a refusal of the service, unless it is a limit of the caller's own", () => {
    const told = (reason: string) => new RpcError(Code.RESOURCE_EXHAUSTED, reason, 'x')
    expect([isRefusal(told('OVERLOADED')), outcomeOf(told('OVERLOADED'))]).toEqual([true, 'ERROR'])
    expect([isRefusal(told('UNKNOWN')), outcomeOf(told('UNKNOWN'))]).toEqual([true, 'ERROR'])
    const tooLarge = told('DOCUMENT_TOO_LARGE')
    expect([isRefusal(tooLarge), isNeutral(tooLarge), outcomeOf(tooLarge)]).toEqual([false, true, 'SUCCESS'])
  })

  it('is the only refusal', () => {
    for (const code of Object.values(Code))
      expect([code, isRefusal(failed(code))]).toEqual([code, code === Code.RESOURCE_EXHAUSTED])
    expect(isRefusal(new Error('x'))).toBe(false)
  })
})

describe('no answer', () => {
  it('is a refusal if the call never left, else a transport failure, whatever its code', () => {
    expect(outcomeOf(failed(Code.UNAVAILABLE, { connectionFailed: true, notSent: true }))).toBe('REFUSED')
    expect(outcomeOf(failed(Code.INTERNAL, { connectionFailed: true }))).toBe('TRANSPORT')
  })

  it('because the caller gave up says nothing, sent or not', () => {
    expect(outcomeOf(failed(Code.CANCELLED))).toBe('NONE')
    expect(outcomeOf(failed(Code.CANCELLED, { notSent: true }))).toBe('NONE')
    expect(outcomeOf(rpcError('CANCELLED', 'x'))).toBe('NONE')
  })
})
