import { describe, expect, it } from 'vitest'
import { createIncidentLog } from './incident.ts'

const log = (capacity?: number) => {
  let nowMs = 0
  return createIncidentLog({ ...(capacity && { capacity }), now: () => nowMs++ })
}

describe('the log of incidents', () => {
  it('lists the newest first, no more than asked for', () => {
    const { record, list } = log()
    record({ kind: 'endpoint_ejected', service: 'document', instanceId: 'a', reason: 'success_ratio' })
    record({ kind: 'circuit_opened', service: 'document', methodClass: 'read', reason: 'failure_rate' })
    expect(list(10)).toEqual([
      {
        at: new Date(1),
        kind: 'circuit_opened',
        service: 'document',
        instanceId: '',
        methodClass: 'read',
        reason: 'failure_rate',
      },
      {
        at: new Date(0),
        kind: 'endpoint_ejected',
        service: 'document',
        instanceId: 'a',
        methodClass: '',
        reason: 'success_ratio',
      },
    ])
    expect(list(1).map(({ kind }) => kind)).toEqual(['circuit_opened'])
  })

  it('forgets the oldest beyond its capacity', () => {
    const { record, list } = log(3)
    for (const service of ['a', 'b', 'c', 'd']) record({ kind: 'panic_started', service })
    expect(list(10).map(({ service }) => service)).toEqual(['d', 'c', 'b'])
  })

  it('tells each new one to who listens, until they leave', () => {
    const { record, onRecord } = log()
    const heard: string[] = []
    const leave = onRecord(({ kind, at }) => heard.push(`${at.getTime()} ${kind}`))
    record({ kind: 'panic_started', service: 'document' })
    leave()
    record({ kind: 'panic_ended', service: 'document' })
    expect(heard).toEqual(['0 panic_started'])
  })

  it('has room for something', () => {
    expect(() => createIncidentLog({ capacity: 0 })).toThrow(RangeError)
  })
})
