import type { RouteRule, VersionWeight } from '@docmesh/contracts/registry/v1/registry'
import { Code } from '@docmesh/rpc'
import { InvalidArgumentError } from 'commander'
import { duration } from './parse.ts'

const percent = (text: string, example: string): number => {
  const value = Number(text)
  if (!/^\d+(\.\d+)?$/.test(text) || value > 100)
    throw new InvalidArgumentError(`write for example ${example}`)
  return value
}

/** `1.1.0=10`: a version and its percent of the calls. */
export function versionWeight(text: string, earlier: readonly VersionWeight[] = []): VersionWeight[] {
  const [, version = '', weight = ''] = /^\s*(\S+)=(\d{1,3})\s*$/.exec(text) ?? []
  if (version === '' || Number(weight) > 100) throw new InvalidArgumentError('write for example 1.1.0=10')
  return [...earlier, { version, weight: Number(weight) }]
}

const RULE_EXAMPLE = 'write for example "x-beta=yes -> 1.1.0", "x-tenant=acme* -> 1.1.0" or "x-beta -> 1.1.0"'

/** `x-beta=yes x-tenant=acme* -> 1.1.0`: headers that must all match, and the version that gets the call. */
export function routeRule(text: string, earlier: readonly RouteRule[] = []): RouteRule[] {
  const [, conditions = '', version = ''] = /^(.+)->\s*(\S+)\s*$/.exec(text) ?? []
  const words = conditions.trim().split(/\s+/)
  const method = words.find((word) => word.includes('/') && !word.includes('=')) ?? ''
  const headers = words
    .filter((word) => word !== '' && word !== method)
    .map((word): RouteRule['headers'][number] => {
      const [, name = '', value] = /^([a-z0-9_.-]+)(?:=(.+))?$/.exec(word) ?? []
      if (name === '') throw new InvalidArgumentError(RULE_EXAMPLE)
      if (value === undefined) return { name, match: { $case: 'present', value: true } }
      return value.endsWith('*')
        ? { name, match: { $case: 'prefix', value: value.slice(0, -1) } }
        : { name, match: { $case: 'exact', value } }
    })
  if (version === '' || (headers.length === 0 && method === '')) throw new InvalidArgumentError(RULE_EXAMPLE)
  return [...earlier, { headers, method, version }]
}

/** `10%:200ms`: how many calls are delayed, and for how long. */
export function faultDelay(text: string): { readonly percent: number; readonly ms: number } {
  const [, share = '', time = ''] = /^\s*([\d.]+)%:(\S+)\s*$/.exec(text) ?? []
  return { percent: percent(share, '10%:200ms'), ms: duration(time) }
}

/** `5%:UNAVAILABLE`: how many calls are aborted, and with which status. */
export function faultAbort(text: string): { readonly percent: number; readonly code: Code } {
  const [, share = '', name = ''] = /^\s*([\d.]+)%:([A-Z_]+)\s*$/.exec(text) ?? []
  const code = Code[name as keyof typeof Code]
  if (code === undefined || code === Code.OK)
    throw new InvalidArgumentError('write for example 5%:UNAVAILABLE')
  return { percent: percent(share, '5%:UNAVAILABLE'), code }
}

/** `1.1.0=5%`: the version that gets copies, and of how many calls. */
export function mirror(text: string): { readonly version: string; readonly percent: number } {
  const [, version = '', share = ''] = /^\s*(\S+)=([\d.]+)%?\s*$/.exec(text) ?? []
  if (version === '') throw new InvalidArgumentError('write for example 1.1.0=5%')
  return { version, percent: percent(share, '1.1.0=5%') }
}
