import { Code, type Method } from '@docmesh/rpc'
import { describe, expect, it } from 'vitest'
import { createDecisionLog } from './decision-log.ts'
import { endpointNamed } from './endpoint.fixture.ts'
import type { Pick } from './pick.ts'

const method = { path: '/docmesh.document.v1.DocumentService/GetDocument' } as Method
const GET_DOCUMENT = 'docmesh.document.v1.DocumentService/GetDocument'

const pickOf = (instanceId: string, fields: Partial<Pick> = {}): Pick => ({
  endpoint: endpointNamed(instanceId),
  reason: 'only',
  costMs: 4,
  loser: undefined,
  loserCostMs: 0,
  done() {},
  ...fields,
})

const logOf = (capacity = 256) => {
  let nowMs = 0
  return createDecisionLog('document', { capacity, now: () => nowMs++ })
}

describe('the log of decisions', () => {
  it('tells who was picked, who lost, and how it ended', () => {
    const log = logOf()
    const pick = pickOf('a', { reason: 'least_cost', loser: endpointNamed('b'), loserCostMs: 9 })
    const ticket = log.began(method, 2, 'least_cost', pick, '1.1.0')
    const decision = {
      at: new Date(0),
      service: 'document',
      method: GET_DOCUMENT,
      attempt: 2,
      reason: 'least_cost',
      picked: 'a',
      pickedCostMs: 4,
      lost: 'b',
      lostCostMs: 9,
      version: '1.1.0',
    }
    expect(log.list(1)).toEqual([{ ...decision, code: '', durationMs: undefined }])
    log.ended(ticket, Code.UNAVAILABLE, 12)
    expect(log.list(1)).toEqual([{ ...decision, code: 'UNAVAILABLE', durationMs: 12 }])
  })

  it('tells of a refusal, with nothing left of what was there before', () => {
    const log = logOf(1)
    log.ended(log.began(method, 2, 'only', pickOf('a', { loser: endpointNamed('b') }), '1.1.0'), Code.OK, 12)
    log.refused(method, 1, 'circuit_open', Code.UNAVAILABLE, '')
    expect(log.list(10)).toEqual([
      {
        at: new Date(1),
        service: 'document',
        method: GET_DOCUMENT,
        attempt: 1,
        reason: 'circuit_open',
        picked: '',
        pickedCostMs: 0,
        lost: '',
        lostCostMs: 0,
        version: '',
        code: 'UNAVAILABLE',
        durationMs: undefined,
      },
    ])
  })

  it('keeps the newest, and lists no more than asked for', () => {
    const log = logOf(3)
    expect(log.list(10)).toEqual([])
    for (const id of ['a', 'b', 'c', 'd', 'e']) log.began(method, 1, 'only', pickOf(id), '')
    expect(log.list(10).map(({ picked }) => picked)).toEqual(['e', 'd', 'c'])
    expect(log.list(2).map(({ picked }) => picked)).toEqual(['e', 'd'])
  })

  it('does not mistake the end of a call for the end of the one that took its place', () => {
    const log = logOf(2)
    const first = log.began(method, 1, 'only', pickOf('a'), '')
    log.began(method, 1, 'only', pickOf('b'), '')
    log.began(method, 1, 'only', pickOf('c'), '')
    log.ended(first, Code.OK, 1)
    expect(log.list(2).map(({ picked, code }) => [picked, code])).toEqual([
      ['c', ''],
      ['b', ''],
    ])
  })
})
