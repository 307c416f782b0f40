import { Code, invalidRequest, type Reason, RpcError, rpcError } from '@docmesh/rpc'
import { describe, expect, it } from 'vitest'
import { failureOf, failureText } from './failure.ts'

describe('exit code of an error', () => {
  it.each<[Reason, number]>([
    ['EMPTY_DOCUMENT', 3],
    ['UNSUPPORTED_TYPE', 3],
    ['DOCUMENT_TOO_LARGE', 3],
    ['DOCUMENT_UNREADABLE', 3],
    ['INVALID_REQUEST', 2],
    ['DOCUMENT_NOT_FOUND', 2],
    ['UNKNOWN_RULE_PACK', 2],
    ['INVALID_PAGE_TOKEN', 2],
    ['NO_ENDPOINT', 4],
    ['CIRCUIT_OPEN', 4],
    ['DEADLINE_EXCEEDED', 4],
    ['INTERNAL', 5],
    ['ANALYSIS_ENDED', 5],
  ])('is that of %s: %i', (reason, exitCode) => {
    expect(failureOf(rpcError(reason, 'x')).exitCode).toBe(exitCode)
  })

  it('is 130 for whatever an interrupt led to', () => {
    expect(failureOf(rpcError('CANCELLED', 'x'), true).exitCode).toBe(130)
  })

  it('is 5 for anything else that is thrown', () => {
    expect(failureOf(new TypeError('x is not a function')).exitCode).toBe(5)
    expect(failureOf('text').exitCode).toBe(5)
  })
})

describe('text of an error', () => {
  it('is one line with what happened and what to do', () => {
    const error = rpcError('DOCUMENT_NOT_FOUND', 'No document has the id "x".')
    expect(failureText(failureOf(error))).toBe(
      'docmesh: No document has the id "x" (Check the id; `docmesh documents list` shows the documents)\n',
    )
  })

  it('lists every wrong field', () => {
    const error = invalidRequest([
      { field: 'page_size', description: 'write 1 to 1000' },
      { field: 'tags[0]', description: 'is empty' },
    ])
    expect(failureText(failureOf(error)).split('\n').slice(1)).toEqual([
      '  page_size: write 1 to 1000',
      '  tags[0]: is empty',
      '',
    ])
  })

  it('says when to try again', () => {
    const error = rpcError('CIRCUIT_OPEN', 'Calls fail.', { retryAfterMs: 2_100 })
    expect(failureText(failureOf(error))).toContain('Try again in 3 s)')
  })

  it('hides the words of the transport when the connection is lost', () => {
    const remote = { method: 'x', connectionFailed: true, notSent: false, pushbackMs: undefined }
    const error = new RpcError(Code.UNAVAILABLE, 'NO_ENDPOINT', 'read ECONNRESET', {}, remote)
    expect(failureText(failureOf(error))).toContain('the connection to the mesh was refused or lost')
  })
})
