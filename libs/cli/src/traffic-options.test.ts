import { Code } from '@docmesh/rpc'
import { InvalidArgumentError } from 'commander'
import { describe, expect, it } from 'vitest'
import { faultAbort, faultDelay, mirror, routeRule, versionWeight } from './traffic-options.ts'

describe('--weight', () => {
  it('collects versions with their percent', () => {
    expect(versionWeight('1.1.0-rc.1=10', versionWeight('1.0.0=90'))).toEqual([
      { version: '1.0.0', weight: 90 },
      { version: '1.1.0-rc.1', weight: 10 },
    ])
  })

  it.each(['1.0.0', '=10', '1.0.0=101', '1.0.0=ten', '1.0.0=-1'])('refuses %j', (text) => {
    expect(() => versionWeight(text)).toThrow(InvalidArgumentError)
  })
})

describe('--rule', () => {
  it('reads exact, prefix and present matches and a method', () => {
    const [rule] = routeRule('x-beta=yes x-tenant=acme* x-debug docmesh.a.v1.A/Get -> 1.1.0')
    expect(rule).toEqual({
      headers: [
        { name: 'x-beta', match: { $case: 'exact', value: 'yes' } },
        { name: 'x-tenant', match: { $case: 'prefix', value: 'acme' } },
        { name: 'x-debug', match: { $case: 'present', value: true } },
      ],
      method: 'docmesh.a.v1.A/Get',
      version: '1.1.0',
    })
  })

  it('keeps the order in which rules were given', () => {
    expect(routeRule('b -> 2', routeRule('a -> 1')).map(({ version }) => version)).toEqual(['1', '2'])
  })

  it.each(['x-beta=yes', '-> 1.1.0', 'X-Beta=yes -> 1.1.0', 'x-beta= -> 1.1.0', 'x-beta=yes ->'])(
    'refuses %j',
    (text) => {
      expect(() => routeRule(text)).toThrow(InvalidArgumentError)
    },
  )
})

describe('faults and mirror', () => {
  it('read their percent and what happens to those calls', () => {
    expect(faultDelay('12.5%:200ms')).toEqual({ percent: 12.5, ms: 200 })
    expect(faultAbort('5%:UNAVAILABLE')).toEqual({ percent: 5, code: Code.UNAVAILABLE })
    expect(mirror('1.1.0=5%')).toEqual({ version: '1.1.0', percent: 5 })
  })

  it.each(['200ms', '10:200ms', '101%:1s', '10%:soon'])('--fault-delay refuses %j', (text) => {
    expect(() => faultDelay(text)).toThrow(InvalidArgumentError)
  })

  it.each(['5%', '5%:OK', '5%:NOPE', '500%:UNAVAILABLE'])('--fault-abort refuses %j', (text) => {
    expect(() => faultAbort(text)).toThrow(InvalidArgumentError)
  })
})
