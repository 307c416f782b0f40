import { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import type { TailEventsRequest } from '@docmesh/contracts/ops/v1/event'
import {
  SystemHealthChecked,
  SystemRecoveryCompleted,
  SystemRecoveryStarted,
} from '@docmesh/contracts/ops/v1/events'
import { describe, expect, it } from 'vitest'
import { docmesh } from '../testing.fixture.ts'

type Message<T> = { $type: string; toJSON(value: T): unknown }

/** A log whose events are one second apart, as the registry shows it. */
function logOf(...entries: (readonly [Message<never>, unknown])[]) {
  const asked: TailEventsRequest[] = []
  const events = {
    async *tailEvents(request: TailEventsRequest) {
      asked.push(request)
      for (const [index, [type, value]] of entries.entries()) {
        const event = EventEnvelope.fromPartial({
          id: String(index),
          type: type.$type,
          occurredAt: new Date(Date.UTC(2026, 0, 1, 0, 0, index)),
        })
        yield { event, position: BigInt(index + 1), payloadJson: JSON.stringify(type.toJSON(value as never)) }
      }
    },
  }
  return { asked, services: { events } }
}

const checked = (check: string, healthy: boolean, detail = '') =>
  [SystemHealthChecked as Message<never>, { check, healthy, detail }] as const
const started = (recoveryId: string, check: string, action: string) =>
  [SystemRecoveryStarted as Message<never>, { recoveryId, check, action }] as const
const completed = (recoveryId: string, succeeded: boolean, detail: string) =>
  [SystemRecoveryCompleted as Message<never>, { recoveryId, succeeded, detail }] as const

const TWO = [
  checked('health/document-1', false, 'no answer within 2000 ms'),
  started('r1', 'health/document-1', 'restart'),
  checked('health/document-1', true),
  completed('r1', true, 'restarted document-1'),
  completed('r2', false, 'disk/data (high): no action helps'),
  started('r3', 'memory/analysis', 'clear-cache'),
  started('r3', 'memory/analysis', 'add-instance'),
] as const

describe('docmesh recoveries', () => {
  it('shows what failed, what was done and how it ended, newest first', async () => {
    const { exitCode, out } = await docmesh(['recoveries'], logOf(...TWO))
    expect(exitCode).toBe(0)
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => line.split(/ {2,}/)),
    ).toEqual([
      ['STARTED', 'CHECK', 'ACTIONS', 'OUTCOME', 'TOOK', 'WHAT'],
      ['2026-01-01 00:00:05', 'memory/analysis', 'clear-cache, add-instance', 'unfinished', '-'],
      ['2026-01-01 00:00:04', '-', '-', 'escalated', '0 ms', 'disk/data (high): no action helps'],
      [
        '2026-01-01 00:00:01',
        'health/document-1',
        'restart',
        'healed',
        '2 s',
        'no answer within 2000 ms: restarted document-1',
      ],
    ])
  })

  it('reads the events of recoveries from the first on, and does not wait for more', async () => {
    const log = logOf()
    const { out } = await docmesh(['recoveries'], log)
    expect(out).toBe('nothing has been mended yet\n')
    expect(log.asked).toEqual([
      {
        types: [
          'docmesh.ops.v1.SystemHealthChecked',
          'docmesh.ops.v1.SystemRecoveryStarted',
          'docmesh.ops.v1.SystemRecoveryCompleted',
        ],
        aggregateId: '',
        fromPosition: 1n,
        follow: false,
      },
    ])
  })

  it('keeps to the limit, the newest of them, as JSON', async () => {
    const { out } = await docmesh(['recoveries', '--limit', '2', '--json'], logOf(...TWO))
    expect(JSON.parse(out)).toMatchObject([
      { recoveryId: 'r3', actions: ['clear-cache', 'add-instance'], outcome: 'unfinished' },
      { recoveryId: 'r2', outcome: 'escalated', tookMs: 0 },
    ])
  })
})
