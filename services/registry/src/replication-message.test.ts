import { WatchResponse } from '@docmesh/contracts/registry/v1/registry'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Member } from './member.ts'
import { decodeSaid, encodeSaid } from './replication-message.ts'

const text = fc.string({ unit: 'binary', maxLength: 20 })
const texts = fc.array(text, { maxLength: 3 })
const date = fc.date({ min: new Date('2020-01-01'), max: new Date('2100-01-01'), noInvalidDate: true })
const revision = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n })
const member: fc.Arbitrary<Member> = fc.record({
  service: fc.constantFrom('document', 'a', 'x-1'),
  instanceId: fc.string({ minLength: 1, maxLength: 40 }),
  incarnation: revision,
  address: fc.constantFrom('127.0.0.1:7400', '[::1]:1', 'host.name:65535'),
  adminAddress: fc.constantFrom('', '127.0.0.1:9'),
  version: text,
  zone: text,
  grpcServices: texts,
  dependencies: texts,
  capabilities: texts,
  weight: fc.integer({ min: 0, max: 1_000 }),
  labels: fc.dictionary(fc.constantFrom('a', 'b', 'zone'), text, { noNullPrototype: true }),
  state: fc.constantFrom('starting', 'serving', 'suspect', 'draining'),
  health: fc.constantFrom('unknown', 'healthy', 'degraded', 'unhealthy'),
  responseTimeMs: fc.option(fc.integer({ min: 0, max: 60_000 }), { nil: undefined }),
  registeredAt: date,
  renewedAt: date,
  revision,
})
const replica = fc.uuid()

describe('what a replica says', () => {
  it('is heard as it was said', () => {
    const members = fc.array(member, { maxLength: 4 })
    const all = fc.record({ replica, revision, kind: fc.constant('all' as const), members })
    const removed = fc.array(fc.string({ minLength: 1 }), { maxLength: 3 })
    const kind = fc.constant('changes' as const)
    const changes = fc.record({ replica, revision, kind, changed: members, removed })
    const said = fc.oneof(all, changes)
    fc.assert(
      fc.property(said, (each) => {
        expect(decodeSaid(encodeSaid(each))).toEqual(each)
      }),
    )
  })

  it('is refused when it is no message, or names no replica, or says nothing', () => {
    expect(() => decodeSaid(Buffer.from('not a message'))).toThrow()
    expect(() => decodeSaid(Buffer.alloc(0))).toThrow('not a message of a replica')
    for (const partial of [{ epoch: 'r' }, { update: { $case: 'snapshot', value: {} } }] as const) {
      const bytes = WatchResponse.encode(WatchResponse.fromPartial(partial)).finish()
      expect(() => decodeSaid(bytes)).toThrow('not a message of a replica')
    }
  })

  it('is refused when it lists what the registry would not take', () => {
    fc.assert(
      fc.property(member, fc.constantFrom('service', 'address', 'instanceId'), (good, field) => {
        const members = [{ ...good, [field]: '' }]
        expect(() => decodeSaid(encodeSaid({ replica: 'r', revision: 1n, kind: 'all', members }))).toThrow()
      }),
    )
  })
})
