import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type RouteRule, TrafficPolicy, type VersionWeight } from '@docmesh/contracts/registry/v1/registry'
import { Code, codeName, durationOf, RpcError } from '@docmesh/rpc'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import { CliError } from '../failure.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText } from '../paging.ts'
import { durationMs, durationText, plain } from '../render/text.ts'
import { faultAbort, faultDelay, mirror, routeRule, versionWeight } from '../traffic-options.ts'

interface ShowOptions extends GlobalOptions {
  readonly json?: boolean
}

interface SetOptions extends ShowOptions {
  readonly weight?: readonly VersionWeight[]
  readonly rule?: readonly RouteRule[]
  readonly hash?: string
  readonly mirror?: ReturnType<typeof mirror>
  readonly faultDelay?: ReturnType<typeof faultDelay>
  readonly faultAbort?: ReturnType<typeof faultAbort>
  readonly file?: string
}

export function trafficCommand(cli: Cli): Command {
  const { stdout } = cli.io
  const show = (policies: readonly TrafficPolicy[], json: boolean | undefined): void => {
    if (json) stdout.write(jsonText(policies.map((policy) => TrafficPolicy.toJSON(policy))))
    else
      stdout.write(
        policies.length > 0 ? policies.map(policyText).join('\n') : 'every service has the default policy\n',
      )
  }

  const traffic = new Command('traffic').description('how calls to a service are spread').addHelpText(
    'after',
    `
Examples:
  docmesh mesh traffic list
  docmesh mesh traffic set document --weight 1.0.0=90 --weight 1.1.0=10
  docmesh mesh traffic set document --rule "x-beta=yes -> 1.1.0" --weight 1.0.0=100 --hash x-tenant
  docmesh mesh traffic set document --fault-abort 5%:UNAVAILABLE --fault-delay 10%:200ms
  docmesh mesh traffic get document --json > policy.json
  docmesh mesh traffic set document --file policy.json
  docmesh mesh traffic clear document`,
  )

  traffic
    .command('list')
    .description('every policy that is not the default')
    .option('--json', 'proto3 JSON')
    .action(
      ending<ShowOptions>(cli, async (options) => {
        show(await withMesh(cli, options, allPolicies), options.json)
        return EXIT.ok
      }),
    )

  traffic
    .command('get')
    .description('the policy of a service')
    .argument('<service>', 'name of the service')
    .option('--json', 'proto3 JSON, as `set --file` takes it')
    .action(
      ending<ShowOptions>(cli, async (options, service = '') => {
        const { policy } = await withMesh(cli, options, ({ registry }) =>
          registry.getTrafficPolicy({ service }),
        )
        if (policy) stdout.write(options.json ? jsonText(TrafficPolicy.toJSON(policy)) : policyText(policy))
        return EXIT.ok
      }),
    )

  traffic
    .command('set')
    .description('replace the policy of a service by what the options say')
    .argument('<service>', 'name of the service')
    .option('--weight <version=percent>', 'share of a version; all of them sum to 100', versionWeight)
    .option(
      '--rule <rule>',
      'headers and method that go to a version, tried in order before the weights',
      routeRule,
    )
    .option('--hash <header>', 'calls with the same value go to the same instance')
    .option('--mirror <version=percent>', 'copies of calls for a version, answers ignored', mirror)
    .option('--fault-delay <percent:time>', 'delay some calls on purpose', faultDelay)
    .option('--fault-abort <percent:code>', 'abort some calls on purpose', faultAbort)
    .option('--file <path>', 'a policy as proto3 JSON instead of the options above')
    .option('--json', 'proto3 JSON')
    .action(
      ending<SetOptions>(cli, async (options, service = '') => {
        const wanted = options.file === undefined ? policyOf(options) : policyFrom(options.file)
        const stored = await withMesh(cli, options, (session) => put(session, { ...wanted, service }))
        stdout.write(options.json ? jsonText(TrafficPolicy.toJSON(stored)) : policyText(stored))
        return EXIT.ok
      }),
    )

  traffic
    .command('clear')
    .description('return a service to the default policy')
    .argument('<service>', 'name of the service')
    .action(
      ending<ShowOptions>(cli, async (options, service = '') => {
        const { revision } = await withMesh(cli, options, ({ registry }) =>
          registry.deleteTrafficPolicy({ service, requestId: randomUUID() }),
        )
        stdout.write(`${service} has the default policy since revision ${revision}\n`)
        return EXIT.ok
      }),
    )
  return traffic
}

/** The first message of a watch is the whole mesh. */
async function allPolicies({ registry }: MeshSession): Promise<TrafficPolicy[]> {
  for await (const { update } of registry.watch({})) {
    return update?.$case === 'snapshot' ? update.value.policies : []
  }
  return []
}

/** Replaces what is there now: somebody who changes it in the same moment is not overwritten. */
async function put({ registry }: MeshSession, wanted: TrafficPolicy): Promise<TrafficPolicy> {
  const current = await registry.getTrafficPolicy({ service: wanted.service }).catch((error: unknown) => {
    if (error instanceof RpcError && error.code === Code.NOT_FOUND) return undefined
    throw error
  })
  const policy = { ...wanted, etag: current?.policy?.etag ?? '' }
  const answer = await registry.putTrafficPolicy({ policy, requestId: randomUUID() })
  return answer.policy ?? policy
}

function policyFrom(path: string): TrafficPolicy {
  try {
    return TrafficPolicy.fromJSON(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    throw new CliError(
      EXIT.usage,
      `${path} is not a traffic policy: ${(cause as Error).message}`,
      '`docmesh mesh traffic get SERVICE --json` writes one',
      { cause },
    )
  }
}

function policyOf(options: SetOptions): TrafficPolicy {
  const { weight = [], rule = [], hash, faultDelay: delay, faultAbort: abort } = options
  return TrafficPolicy.fromPartial({
    weights: [...weight],
    rules: [...rule],
    ...(hash !== undefined && { hash: { header: hash } }),
    ...(options.mirror && { mirror: options.mirror }),
    ...((delay || abort) && {
      fault: {
        ...(delay && { delayPercent: delay.percent, delay: durationOf(delay.ms) }),
        ...(abort && { abortPercent: abort.percent, abortCode: abort.code }),
      },
    }),
  })
}

function policyText({
  service,
  weights,
  rules,
  hash,
  mirror: copies,
  fault,
  revision,
}: TrafficPolicy): string {
  const lines = [
    `${service}  (revision ${revision})`,
    ...weights.map(({ version, weight }) => `  ${weight} % to ${version}`),
    ...rules.map((rule) => `  ${conditionsText(rule)} -> ${rule.version}`),
    ...(hash ? [`  same ${hash.header} to the same instance`] : []),
    ...(copies ? [`  ${copies.percent} % copied to ${copies.version}`] : []),
    ...(fault?.delayPercent
      ? [`  ${fault.delayPercent} % delayed by ${durationText(durationMs(fault.delay) ?? 0)}`]
      : []),
    ...(fault?.abortPercent
      ? [`  ${fault.abortPercent} % aborted with ${codeName(fault.abortCode as Code)}`]
      : []),
  ]
  return lines.map((line) => `${line.replace(/\S.*/, plain)}\n`).join('')
}

const conditionsText = ({ headers, method }: RouteRule): string =>
  [
    ...headers.map(({ name, match }) => {
      if (match?.$case === 'present') return match.value ? name : `no ${name}`
      return match?.$case === 'prefix' ? `${name}=${match.value}*` : `${name}=${match?.value ?? ''}`
    }),
    ...(method ? [method] : []),
  ].join(' ')
