import { GetDiagnosticsResponse, HealthState } from '@docmesh/contracts/ops/v1/diagnostics'
import { GetStatusResponse, type Instance } from '@docmesh/contracts/registry/v1/registry'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText } from '../paging.ts'
import { STATES } from '../render/mesh-instances.ts'
import { table } from '../render/table.ts'
import { durationMs, durationText, sizeText, timeText } from '../render/text.ts'
import { allInstances } from './services.ts'

interface StatusOptions extends GlobalOptions {
  readonly json?: boolean
}

interface Diagnosed {
  readonly instance: Instance
  /** Undefined when the instance does not answer. */
  readonly diagnostics: GetDiagnosticsResponse | undefined
}

export const statusCommand = (cli: Cli): Command =>
  new Command('status')
    .description('state of the registry and health of every instance; exits with 4 when no registry answers')
    .option('--json', 'proto3 JSON')
    .addHelpText(
      'after',
      `
Examples:
  docmesh status
  docmesh status --registry 10.0.0.7:7400 --json`,
    )
    .action(
      ending<StatusOptions>(cli, async (options) => {
        const { registry, instances } = await withMesh(cli, options, collect)
        cli.io.stdout.write(
          options.json
            ? jsonText({
                registry: GetStatusResponse.toJSON(registry),
                instances: instances.map(({ instance, diagnostics }) => ({
                  instanceId: instance.registration?.instanceId,
                  diagnostics: diagnostics && GetDiagnosticsResponse.toJSON(diagnostics),
                })),
              })
            : statusText(registry, instances),
        )
        return EXIT.ok
      }),
    )

async function collect({ registry, diagnose }: MeshSession) {
  const [status, instances] = await Promise.all([registry.getStatus({}), allInstances(registry)])
  const diagnosed = instances.map(async (instance): Promise<Diagnosed> => {
    const address = instance.registration?.address ?? ''
    return { instance, diagnostics: await diagnose(address).catch(() => undefined) }
  })
  return { registry: status, instances: await Promise.all(diagnosed) }
}

function statusText(registry: GetStatusResponse, instances: readonly Diagnosed[]): string {
  const { revision, watchers, startedAt, quarantine, massExpiryGuard } = registry
  const guards = [quarantine && 'quarantine', massExpiryGuard && 'mass expiry guard'].filter(Boolean)
  const lines = [
    `registry  revision ${revision}, ${instances.length} instances, ${watchers} watchers, since ${timeText(startedAt)} UTC`,
    ...(guards.length > 0 ? [`          guards active: ${guards.join(', ')}`] : []),
  ]
  const head = ['SERVICE', 'STATE', 'HEALTH', 'UPTIME', 'MEMORY', 'LAG P99', 'ADDRESS', 'REMARKS']
  return `${lines.join('\n')}\n\n${table(head, instances.map(rowOf))}`
}

function rowOf({ instance: { registration, state }, diagnostics }: Diagnosed): string[] {
  const info = diagnostics?.process
  const lag = durationMs(info?.eventLoopLagP99)
  const failing = diagnostics?.checks
    .filter((check) => check.state === HealthState.UNHEALTHY || check.state === HealthState.DEGRADED)
    .map(({ name, detail }) => `${name}: ${detail}`)
  return [
    registration?.service ?? '-',
    STATES[state],
    diagnostics ? HEALTHS[diagnostics.health] : 'no answer',
    durationText(durationMs(info?.uptime) ?? 0),
    info ? sizeText(info.rssBytes) : '-',
    lag === undefined ? '-' : `${lag.toFixed(1)} ms`,
    registration?.address ?? '-',
    failing?.join('; ') ?? '',
  ]
}

const HEALTHS: Readonly<Record<HealthState, string>> = {
  [HealthState.UNSPECIFIED]: '-',
  [HealthState.HEALTHY]: 'healthy',
  [HealthState.DEGRADED]: 'degraded',
  [HealthState.UNHEALTHY]: 'unhealthy',
  [HealthState.UNKNOWN]: 'not checked yet',
}
