import type { DeadLetter, TailEventsResponse } from '@docmesh/contracts/ops/v1/event'
import type { Style } from '../render/style.ts'
import { table } from '../render/table.ts'
import { plain, timeText, truncated } from '../render/text.ts'

const shortType = (type: string): string => type.slice(type.lastIndexOf('.') + 1)

/** One event on one line: position, time, type, aggregate with its version, payload. */
export function eventLine({ event, position, payloadJson }: TailEventsResponse, style: Style): string {
  if (!event) return ''
  const { type, aggregateType, aggregateId, version, occurredAt } = event
  const parts = [
    style.dim(String(position).padStart(8)),
    style.dim(timeText(occurredAt)),
    style.cyan(plain(shortType(type)).padEnd(24)),
    plain(`${aggregateType}/${aggregateId}@${version}`),
    plain(payloadJson),
  ]
  return `${parts.join('  ').trimEnd()}\n`
}

const HEAD = ['ID', 'SUBSCRIBER', 'EVENT', 'AGGREGATE', 'ATTEMPTS', 'GIVEN UP (UTC)', 'ERROR']
const ERROR_LENGTH = 60

export const deadLetterTable = (deadLetters: readonly DeadLetter[]): string =>
  table(
    HEAD,
    deadLetters.map(({ id, event, subscriber, attempts, error, deadAt }) => [
      id,
      subscriber,
      shortType(event?.type ?? '-'),
      event ? `${event.aggregateType}/${event.aggregateId}` : '-',
      String(attempts),
      timeText(deadAt),
      truncated(plain(error), ERROR_LENGTH),
    ]),
  )
