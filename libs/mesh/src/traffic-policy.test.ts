import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { createClient, type Metadata, type Method } from '@docmesh/rpc'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { seededRandom } from './endpoint.fixture.ts'
import { compileTrafficPolicy } from './traffic-policy.ts'

type PolicyInput = Parameters<typeof TrafficPolicy.fromPartial>[0]

const compile = (policy: PolicyInput) => compileTrafficPolicy(TrafficPolicy.fromPartial(policy))

/** The methods as clients know them: each call tells its own. */
const methodOf = async (key: 'getDocument' | 'updateDocument'): Promise<Method> => {
  let seen: Method | undefined
  const client = createClient(DocumentServiceDefinition, async ({ method }) => {
    seen = method
  })
  await client[key]({})
  return seen as Method
}
const getDocument = await methodOf('getDocument')
const updateDocument = await methodOf('updateDocument')

const versionOf = (policy: PolicyInput, metadata: Metadata = {}, point = 0.5, method = getDocument) =>
  compile(policy).route(method, metadata, () => point).version

const ruleOf = (...headers: NonNullable<NonNullable<PolicyInput['rules']>[number]['headers']>) => ({
  rules: [{ version: '2', headers }],
})

describe('no policy', () => {
  it('wants nothing of a call', () => {
    expect(compileTrafficPolicy(undefined).route(getDocument, {}, () => 0)).toEqual({})
    expect(compile({ service: 'document' }).route(getDocument, { a: 'b' }, () => 0)).toEqual({})
  })
})

describe('rules', () => {
  it('compare a header with a value, a beginning, or its presence', () => {
    const exact = ruleOf({ name: 'user', match: { $case: 'exact', value: 'ann' } })
    expect([{ user: 'ann' }, { user: 'anna' }, {}].map((each) => versionOf(exact, each as Metadata))).toEqual(
      ['2', undefined, undefined],
    )
    const prefix = ruleOf({ name: 'user', match: { $case: 'prefix', value: 'ann' } })
    expect(
      [{ user: 'anna' }, { user: 'joann' }, {}].map((each) => versionOf(prefix, each as Metadata)),
    ).toEqual(['2', undefined, undefined])
    const present = ruleOf({ name: 'user', match: { $case: 'present', value: true } })
    const absent = ruleOf({ name: 'user', match: { $case: 'present', value: false } })
    expect([versionOf(present, { user: '' }), versionOf(present)]).toEqual(['2', undefined])
    expect([versionOf(absent, { user: '' }), versionOf(absent)]).toEqual([undefined, '2'])
  })

  it('match when all of their headers do', () => {
    const both = ruleOf(
      { name: 'user', match: { $case: 'exact', value: 'ann' } },
      { name: 'tenant', match: { $case: 'exact', value: 'acme' } },
    )
    expect(versionOf(both, { user: 'ann', tenant: 'acme' })).toBe('2')
    expect(versionOf(both, { user: 'ann', tenant: 'other' })).toBeUndefined()
  })

  it('can be for one method', () => {
    const rules = [{ version: '2', method: 'docmesh.document.v1.DocumentService/GetDocument' }]
    expect(versionOf({ rules })).toBe('2')
    expect(versionOf({ rules }, {}, 0.5, updateDocument)).toBeUndefined()
  })

  it('are tried in order, before the weights', () => {
    const policy: PolicyInput = {
      rules: [
        { version: '2', headers: [{ name: 'user', match: { $case: 'exact', value: 'ann' } }] },
        { version: '3', headers: [{ name: 'user', match: { $case: 'present', value: true } }] },
      ],
      weights: [{ version: '1', weight: 100 }],
    }
    expect(['ann', 'bob'].map((user) => versionOf(policy, { user }))).toEqual(['2', '3'])
    expect(versionOf(policy)).toBe('1')
  })
})

describe('weights', () => {
  const shares = fc
    .array(fc.integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 6 })
    .map((cuts) => [...new Set([0, ...cuts, 100])].toSorted((a, b) => a - b))
    .map((bounds) => bounds.slice(1).map((bound, index) => bound - (bounds[index] ?? 0)))
  const weightsOf = (percents: readonly number[]) =>
    percents.map((weight, index) => ({ version: `v${index}`, weight }))

  it('split the draws exactly as they say', () => {
    fc.assert(
      fc.property(shares, (percents) => {
        const policy = compile({ weights: weightsOf(percents) })
        const counts = percents.map(() => 0)
        for (let point = 0.005; point < 1; point += 0.01) {
          const { version = '' } = policy.route(getDocument, {}, () => point)
          counts[Number(version.slice(1))] = (counts[Number(version.slice(1))] ?? 0) + 1
        }
        expect(counts).toEqual(percents)
      }),
    )
  })

  it('never choose a version without weight', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.string(),
        (point, user) => {
          const weights = [
            { version: '1', weight: 0 },
            { version: '2', weight: 100 },
            { version: '3', weight: 0 },
          ]
          expect(versionOf({ weights }, {}, point)).toBe('2')
          expect(versionOf({ weights, hash: { header: 'user' } }, { user }, point)).toBe('2')
        },
      ),
    )
  })

  it('split keys about as they say, and a step of a rollout moves only keys to the new version', () => {
    const at = (percent: number) =>
      compile({
        hash: { header: 'user' },
        weights: [
          { version: '1', weight: 100 - percent },
          { version: '2', weight: percent },
        ],
      })
    const users = Array.from({ length: 2_000 }, (_, index) => `user-${index}`)
    const random = seededRandom(1)
    const choose = (percent: number) => {
      const policy = at(percent)
      return users.map((user) => policy.route(getDocument, { user }, random).version)
    }
    const [ten, twenty] = [choose(10), choose(20)]
    expect(choose(10)).toEqual(ten)
    const share = (versions: typeof ten) =>
      versions.filter((version) => version === '2').length / users.length
    expect(share(ten)).toBeCloseTo(0.1, 1)
    expect(share(twenty)).toBeCloseTo(0.2, 1)
    expect(ten.filter((version, index) => version === '2' && twenty[index] !== '2')).toEqual([])
  })
})

describe('a hash header', () => {
  const policy = compile({ hash: { header: 'user' } })

  it('is the key of the call', () => {
    expect(policy.route(getDocument, { user: 'ann' }, () => 0)).toEqual({ hashKey: 'ann' })
  })

  it('that is missing, empty or not text leaves the call without one', () => {
    for (const metadata of [{}, { user: '' }, { user: new Uint8Array([1]) }] as Metadata[])
      expect(policy.route(getDocument, metadata, () => 0)).toEqual({})
  })
})

describe('a fault', () => {
  const fault = { delayPercent: 20, delay: { seconds: 1n, nanos: 5e8 }, abortPercent: 10, abortCode: 14 }

  it('is injected into its share of the calls', () => {
    const draws = (point: number) => compile({ fault }).route(getDocument, {}, () => point)
    expect(draws(0.09)).toEqual({ delayMs: 1_500, abortCode: 14 })
    expect(draws(0.19)).toEqual({ delayMs: 1_500 })
    expect(draws(0.2)).toEqual({})
  })

  it('without a code is none', () => {
    expect(compile({ fault: { abortPercent: 100 } }).route(getDocument, {}, () => 0)).toEqual({})
  })

  it('of no percent never is, of all percent always', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (point) => {
        const abort = (abortPercent: number) =>
          compile({ fault: { abortPercent, abortCode: 14 } }).route(getDocument, {}, () => point).abortCode
        expect([abort(0), abort(100)]).toEqual([undefined, 14])
      }),
    )
  })
})

describe('a mirror', () => {
  it('gets its share of the calls', () => {
    const policy = compile({ mirror: { version: '2', percent: 0.5 } })
    expect(policy.route(getDocument, {}, () => 0.0049)).toEqual({ mirrorVersion: '2' })
    expect(policy.route(getDocument, {}, () => 0.005)).toEqual({})
  })
})
