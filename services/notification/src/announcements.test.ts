import { AnalysisCompleted, AnalysisFailed, BatchCompleted } from '@docmesh/contracts/analysis/v1/events'
import {
  JobCompleted,
  JobFailed,
  SystemHealthChecked,
  SystemRecoveryCompleted,
} from '@docmesh/contracts/ops/v1/events'
import {
  ServiceDeregistered,
  ServiceRecovered,
  ServiceUnhealthy,
} from '@docmesh/contracts/registry/v1/events'
import type { Event, MessageType } from '@docmesh/events'
import { describe, expect, it } from 'vitest'
import { ANNOUNCED, EVENT_TYPES } from './announcements.ts'
import type { Language } from './templates/text.ts'

type Message = MessageType & { fromPartial(fields: object): unknown }

const eventOf = (type: Message, fields: object, userId = 'owner'): Event => ({
  id: 'e1',
  type: type.$type,
  aggregateType: 'x',
  aggregateId: 'x1',
  version: 1n,
  occurredAt: new Date(0),
  correlationId: 'c1',
  causationId: '',
  userId,
  tenantId: '',
  traceparent: '',
  payload: type.fromPartial(fields),
})
const announcedOf = ({ $type }: MessageType) => ANNOUNCED.find(({ type }) => type.$type === $type)
const announce = (type: Message, fields: object) => announcedOf(type)?.announce(eventOf(type, fields))

describe('every event that somebody is told of', () => {
  it.each(ANNOUNCED.map(({ type }) => [type.$type, type as Message]))(
    'has words in both languages: %s',
    (_name, type) => {
      const hostile = {
        error: 'a\r\nBcc: b',
        detail: '\u202Edetail',
        severity: 4,
        notify: true,
        succeeded: false,
        unhealthy: true,
      }
      const fields = Object.fromEntries(
        Object.keys(type.fromPartial({}) as object).flatMap((name) =>
          name in hostile ? [[name, hostile[name as keyof typeof hostile]]] : [],
        ),
      )
      const announcement = announce(type, fields)
      const [pt, en] = (['pt-BR', 'en'] satisfies Language[]).map((language) => announcement?.text(language))
      expect(pt?.title).toMatch(/^[^\p{Cc}\p{Cf}]+$/u)
      expect(en?.title).toMatch(/^[^\p{Cc}\p{Cf}]+$/u)
      expect(pt?.title).not.toBe(en?.title)
      expect(`${pt?.body}${en?.body}`).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u)
    },
  )

  it('can be chosen by its name', () => {
    expect(EVENT_TYPES).toContain('docmesh.analysis.v1.AnalysisCompleted')
    expect(new Set(EVENT_TYPES).size).toBe(ANNOUNCED.length)
  })
})

it('tells of analyses and batches only who asked', () => {
  for (const type of [AnalysisCompleted, AnalysisFailed, BatchCompleted]) {
    expect(announce(type, { requestedBy: 'ana', notify: true })?.to).toEqual({ userId: 'ana' })
    expect(announce(type, { requestedBy: 'ana', notify: false })).toBeUndefined()
  }
})

it('takes a failure for more urgent than a result, and what the system could not mend for most urgent', () => {
  const severityOf = (type: Message, fields: object) => announce(type, fields)?.severity
  expect(severityOf(AnalysisCompleted, { notify: true })).toBe('info')
  expect(severityOf(AnalysisFailed, { notify: true })).toBe('error')
  expect(severityOf(BatchCompleted, { notify: true, total: 2, completed: 2 })).toBe('info')
  expect(severityOf(BatchCompleted, { notify: true, total: 2, completed: 1, failed: 1 })).toBe('warning')
  expect(severityOf(SystemRecoveryCompleted, { succeeded: false })).toBe('critical')
})

it('is silent about what went well by itself', () => {
  expect(announce(SystemRecoveryCompleted, { succeeded: true })).toBeUndefined()
  expect(announcedOf(JobCompleted)).toBeUndefined()
})

it('knows which events begin and end an incident', () => {
  const instance = { instanceId: 'i1' }
  expect(announce(ServiceUnhealthy, instance)).toMatchObject({ incident: 'begins', severity: 'error' })
  expect(announce(ServiceRecovered, instance)).toMatchObject({ incident: 'ends', severity: 'info' })
  expect(announce(ServiceRecovered, instance)?.subject).toEqual(announce(ServiceUnhealthy, instance)?.subject)
  const gone = announce(ServiceDeregistered, { ...instance, unhealthy: true })
  expect(gone).toMatchObject({ incident: 'ends', subject: announce(ServiceUnhealthy, instance)?.subject })
  expect(announce(ServiceDeregistered, instance)).toBeUndefined()
  expect(announce(SystemHealthChecked, { check: 'disk', healthy: false })).toMatchObject({
    incident: 'begins',
  })
  expect(announce(SystemHealthChecked, { check: 'disk', healthy: true })).toMatchObject({ incident: 'ends' })
  expect(announce(JobFailed, {})).toMatchObject({ to: 'operators', incident: undefined })
})

it('gives the facts of an event as JSON', () => {
  const event = eventOf(JobFailed, { jobId: 'j1', type: 'mail', attempts: 3, error: 'x' })
  expect(announcedOf(JobFailed)?.facts(event)).toEqual({ jobId: 'j1', type: 'mail', attempts: 3, error: 'x' })
})
