// What a traffic policy may say. Mesh semantics: design, section 7; header rules as in gRPC metadata; faults: gRFC A33.
import { type RouteRule, TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { type FieldViolation, invalidRequest, msOf } from '@docmesh/rpc'

export const SERVICE_NAME = /^[a-z][a-z0-9-]{0,62}$/

const METADATA_KEY = /^(?!grpc-)[0-9a-z_.-]{1,256}(?<!-bin)$/
const METADATA_VALUE = /^[\x20-\x7e]{0,1024}$/
const METHOD = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\/[A-Za-z_]\w*$/
const MAX_TEXT = 256
const MAX_LIST = 100
const MAX_BYTES = 64 * 1024
const MAX_DELAY_MS = 60_000
const MAX_CODE = 16
/** The answer names the faults twice, in its message and its details, and has to fit into the trailers. */
const MAX_FAULTS = 20

/** Versions that run now; empty when no instance of the service is registered. */
export type VersionsOf = (service: string) => ReadonlySet<string>

/**
 * Instances come before the policy that sends calls to them: a version that nobody runs is refused. A service without
 * any instance may have its policy prepared.
 *
 * @throws INVALID_REQUEST that names every wrong field, the first 20 if there are more.
 */
export function checkPolicy(policy: TrafficPolicy, versionsOf: VersionsOf): void {
  const faults = policyFaults(policy, versionsOf)
  if (faults.length > 0) throw invalidRequest(faults.slice(0, MAX_FAULTS))
}

type Check = (ok: boolean, field: string, description: string) => void

function policyFaults(policy: TrafficPolicy, versionsOf: VersionsOf): FieldViolation[] {
  if (TrafficPolicy.encode(policy).finish().length > MAX_BYTES)
    return [{ field: 'policy', description: `at most ${MAX_BYTES} bytes` }]

  const faults: FieldViolation[] = []
  const check: Check = (ok, field, description) => {
    if (!ok) faults.push({ field: `policy.${field}`, description })
  }
  const running = versionsOf(policy.service)
  const checkVersion = (version: string, field: string, inUse = true): void => {
    const wellFormed = version.length > 0 && version.length <= MAX_TEXT
    check(wellFormed, field, `1 to ${MAX_TEXT} characters`)
    if (wellFormed && inUse && running.size > 0)
      check(running.has(version), field, 'unknown: no instance of this version is registered')
  }

  check(
    SERVICE_NAME.test(policy.service),
    'service',
    'lower-case letters, digits and hyphens, at most 63, beginning with a letter',
  )
  checkWeights(policy, check, checkVersion)
  check(policy.rules.length <= MAX_LIST, 'rules', `at most ${MAX_LIST}`)
  for (const [index, rule] of policy.rules.slice(0, MAX_LIST).entries()) {
    checkRule(rule, `rules[${index}]`, check)
    checkVersion(rule.version, `rules[${index}].version`)
  }
  if (policy.hash) checkKey(policy.hash.header, 'hash.header', check)
  if (policy.mirror) {
    checkPercent(policy.mirror.percent, 'mirror.percent', check)
    checkVersion(policy.mirror.version, 'mirror.version')
  }
  checkFault(policy, check)
  return faults
}

function checkWeights(
  { weights }: TrafficPolicy,
  check: Check,
  checkVersion: (version: string, field: string, inUse: boolean) => void,
): void {
  check(weights.length <= MAX_LIST, 'weights', `at most ${MAX_LIST}`)
  const seen = new Set<string>()
  for (const [index, { version, weight }] of weights.slice(0, MAX_LIST).entries()) {
    const field = `weights[${index}]`
    checkVersion(version, `${field}.version`, weight > 0)
    check(!seen.has(version), `${field}.version`, 'once only')
    check(weight >= 0 && weight <= 100, `${field}.weight`, '0 to 100')
    seen.add(version)
  }
  const sum = weights.reduce((total, { weight }) => total + weight, 0)
  check(weights.length === 0 || sum === 100, 'weights', `the weights sum to 100, not ${sum}`)
}

function checkRule({ headers, method }: RouteRule, field: string, check: Check): void {
  check(headers.length > 0 || method !== '', field, 'name headers or a method')
  check(
    method === '' || (method.length <= MAX_TEXT && METHOD.test(method)),
    `${field}.method`,
    'package.Service/Method',
  )
  for (const [index, { name, match }] of headers.entries()) {
    const header = `${field}.headers[${index}]`
    checkKey(name, `${header}.name`, check)
    check(match !== undefined, header, 'set exact, prefix or present')
    if (match?.$case === 'exact' || match?.$case === 'prefix')
      check(
        METADATA_VALUE.test(match.value),
        `${header}.${match.$case}`,
        'at most 1024 printable ASCII characters',
      )
    if (match?.$case === 'prefix') check(match.value !== '', `${header}.prefix`, 'not empty: use present')
  }
}

const checkKey = (key: string, field: string, check: Check): void =>
  check(
    METADATA_KEY.test(key),
    field,
    'a metadata key: lower-case letters, digits, _ . -; not grpc-…, not …-bin',
  )

const checkPercent = (percent: number, field: string, check: Check): void =>
  check(percent >= 0 && percent <= 100, field, '0 to 100')

function checkFault({ fault }: TrafficPolicy, check: Check): void {
  if (!fault) return
  const { delayPercent, delay, abortPercent, abortCode } = fault
  checkPercent(delayPercent, 'fault.delay_percent', check)
  checkPercent(abortPercent, 'fault.abort_percent', check)
  const delayMs = delay ? msOf(delay) : 0
  check(
    delayPercent > 0 ? delayMs > 0 && delayMs <= MAX_DELAY_MS : delayMs >= 0 && delayMs <= MAX_DELAY_MS,
    'fault.delay',
    delayPercent > 0 ? 'more than 0 and at most 60 s' : 'at most 60 s',
  )
  check(
    abortPercent > 0 ? abortCode >= 1 && abortCode <= MAX_CODE : abortCode >= 0 && abortCode <= MAX_CODE,
    'fault.abort_code',
    `a gRPC status code from 1 to ${MAX_CODE}`,
  )
}
