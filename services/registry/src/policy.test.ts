import { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { durationOf, RpcError } from '@docmesh/rpc'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkPolicy } from './policy.ts'

type Input = Parameters<typeof TrafficPolicy.fromPartial>[0]

/** Names of the wrong fields. */
function faultsOf(input: Input, versions: readonly string[] = ['1', '2']): string[] {
  try {
    checkPolicy(TrafficPolicy.fromPartial({ service: 'document', ...input }), () => new Set(versions))
    return []
  } catch (error) {
    if (error instanceof RpcError && error.reason === 'INVALID_REQUEST')
      return (error.options.fields ?? []).map(({ field }) => field)
    throw error
  }
}

const weights = (...pairs: [string, number][]) => pairs.map(([version, weight]) => ({ version, weight }))
const rule = (name: string, match: unknown) =>
  ({ rules: [{ version: '1', headers: [{ name, match }] }] }) as Input

describe('a traffic policy', () => {
  it('may say everything that the contract has', () => {
    const policy: Input = {
      weights: weights(['1', 90], ['2', 10]),
      rules: [
        { version: '2', method: 'docmesh.document.v1.DocumentService/GetDocument', headers: [] },
        {
          version: '1',
          headers: [
            { name: 'x-tester', match: { $case: 'exact', value: 'ana' } },
            { name: 'docmesh.tenant_id', match: { $case: 'prefix', value: 'acme-' } },
            { name: 'x-old', match: { $case: 'present', value: false } },
          ],
        },
      ],
      hash: { header: 'docmesh-user-id' },
      mirror: { version: '2', percent: 0.5 },
      fault: { delayPercent: 10, delay: durationOf(60_000), abortPercent: 100, abortCode: 14 },
    }
    expect(faultsOf(policy)).toEqual([])
    expect(faultsOf({})).toEqual([])
  })

  it('is refused with every wrong field by name', () => {
    const policy: Input = {
      service: 'Document!',
      weights: weights(['1', 50], ['1', 101], ['', 0]),
      rules: [{ version: '' }, { version: '2', method: 'GetDocument' }],
      hash: { header: 'grpc-timeout' },
      mirror: { version: '1', percent: Number.NaN },
      fault: { delayPercent: 1, abortPercent: -1, abortCode: 17 },
    }
    expect(faultsOf(policy)).toEqual([
      'policy.service',
      'policy.weights[1].version',
      'policy.weights[1].weight',
      'policy.weights[2].version',
      'policy.weights',
      'policy.rules[0]',
      'policy.rules[0].version',
      'policy.rules[1].method',
      'policy.hash.header',
      'policy.mirror.percent',
      'policy.fault.abort_percent',
      'policy.fault.delay',
      'policy.fault.abort_code',
    ])
  })

  it('has weights that sum to 100, whatever they are', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 20 }), (shares) => {
        const given = shares.map((weight, index) => ({ version: `v${index}`, weight }))
        const versions = given.map(({ version }) => version)
        const sum = shares.reduce((total, share) => total + share, 0)
        expect(faultsOf({ weights: given }, versions)).toEqual(sum === 100 ? [] : ['policy.weights'])
      }),
      { examples: [[[100]], [[0, 100, 0]], [[99]]] },
    )
  })

  it('matches only headers that a call can carry and a rule may read', () => {
    const present = { $case: 'present', value: true }
    for (const name of ['', 'X-Tester', 'grpc-timeout', 'trace-bin', ':path', 'a b', 'x'.repeat(257)])
      expect(faultsOf(rule(name, present))).toEqual(['policy.rules[0].headers[0].name'])
    for (const name of ['x', 'te-st_1.a', 'bin', 'x-grpc-']) expect(faultsOf(rule(name, present))).toEqual([])
  })

  it('compares a header in exactly one way, with a value that a header can have', () => {
    expect(faultsOf(rule('x', undefined))).toEqual(['policy.rules[0].headers[0]'])
    expect(faultsOf(rule('x', { $case: 'prefix', value: '' }))).toEqual(['policy.rules[0].headers[0].prefix'])
    expect(faultsOf(rule('x', { $case: 'exact', value: 'é' }))).toEqual(['policy.rules[0].headers[0].exact'])
    expect(faultsOf(rule('x', { $case: 'exact', value: '' }))).toEqual([])
  })

  it('sends calls only to versions that run', () => {
    const policy: Input = {
      weights: weights(['1', 60], ['3', 40]),
      rules: [{ version: '4', method: 'a.B/C' }],
      mirror: { version: '5', percent: 1 },
    }
    expect(faultsOf(policy)).toEqual([
      'policy.weights[1].version',
      'policy.rules[0].version',
      'policy.mirror.version',
    ])
  })

  it('may name a version that does not run with weight 0, so that a rollout can begin or end there', () => {
    expect(faultsOf({ weights: weights(['1', 100], ['3', 0]) })).toEqual([])
  })

  it('may be prepared before the first instance of its service is there', () => {
    expect(faultsOf({ weights: weights(['7', 100]) }, [])).toEqual([])
  })

  it('asks for the versions of its own service', () => {
    const versionsOf = (service: string) => new Set(service === 'document' ? ['1'] : ['2'])
    const policy = TrafficPolicy.fromPartial({ service: 'analysis', weights: weights(['1', 100]) })
    expect(() => checkPolicy(policy, versionsOf)).toThrow('policy.weights[0].version')
  })

  it('delays by more than nothing and at most a minute', () => {
    const fault = (delayPercent: number, ms?: number): Input => ({
      fault: { delayPercent, delay: ms === undefined ? undefined : durationOf(ms) },
    })
    for (const input of [fault(1), fault(1, 0), fault(1, -5), fault(1, 60_001), fault(0, 60_001)])
      expect(faultsOf(input)).toEqual(['policy.fault.delay'])
    for (const input of [fault(0), fault(1, 0.001), fault(100, 60_000)]) expect(faultsOf(input)).toEqual([])
  })

  it('aborts with a status that is an error', () => {
    for (const abortCode of [0, 17, -1])
      expect(faultsOf({ fault: { abortPercent: 1, abortCode } })).toEqual(['policy.fault.abort_code'])
    for (const abortCode of [1, 14, 16])
      expect(faultsOf({ fault: { abortPercent: 1, abortCode } })).toEqual([])
  })

  it('is bounded in every direction, and so is the answer that refuses it', () => {
    const many = (count: number) => Array.from({ length: count }, (_, index) => index)
    const rules = many(101).map(() => ({ version: '1', method: 'a.B/C' }))
    expect(faultsOf({ rules })).toEqual(['policy.rules'])
    const shares = many(101).map((index) => ({ version: `v${index}`, weight: index === 0 ? 100 : 0 }))
    expect(faultsOf({ weights: shares }, ['v0'])).toEqual(['policy.weights'])
    expect(faultsOf({ rules: many(100).map(() => ({ version: '' })) })).toHaveLength(20)
    expect(faultsOf({ weights: weights(['x'.repeat(65_536), 1_000]) })).toEqual(['policy'])
  })
})
