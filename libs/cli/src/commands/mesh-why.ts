import {
  BreakerInfo,
  type CallDecision,
  type CallerIncident,
  GetMeshViewResponse,
} from '@docmesh/contracts/ops/v1/diagnostics'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText } from '../paging.ts'
import { wholeNumber } from '../parse.ts'
import { table } from '../render/table.ts'
import { durationMs, timeText } from '../render/text.ts'
import { allInstances } from './services.ts'

interface WhyOptions extends GlobalOptions {
  readonly json?: boolean
  readonly caller?: string
  readonly limit?: number
}

/** What one instance says of the mesh as a caller. */
interface CallerView {
  readonly caller: string
  readonly view: GetMeshViewResponse
}

export const breakersCommand = (cli: Cli): Command =>
  new Command('breakers')
    .description('circuit breakers of every caller')
    .option('--caller <name>', 'only of this service or instance')
    .option('--json', 'proto3 JSON')
    .action(
      ending<WhyOptions>(cli, async (options) => {
        const views = await withMesh(cli, options, (session) => callerViews(session, options, ''))
        const breakers = views.flatMap(({ caller, view }) =>
          view.breakers.map((breaker) => ({ caller, breaker })),
        )
        cli.io.stdout.write(
          options.json
            ? jsonText(
                breakers.map(({ caller, breaker }) => ({
                  caller,
                  ...(BreakerInfo.toJSON(breaker) as object),
                })),
              )
            : breakerTable(breakers),
        )
        return EXIT.ok
      }),
    )

export const whyCommand = (cli: Cli): Command =>
  new Command('why')
    .description('for recent calls: which endpoint each caller picked, which one lost, and what went wrong')
    .argument('[service]', 'only calls to this service')
    .option('--caller <name>', 'only calls of this service or instance')
    .option('--limit <number>', 'most calls, and most incidents, of each caller (20)', wholeNumber(1, 1_000))
    .option('--json', 'proto3 JSON of each caller')
    .addHelpText(
      'after',
      `
Why an endpoint was picked:
  least_cost  the cheaper of two that were compared    only    there was no other one
  sticky      the traffic policy hashes a header       panic   too few are healthy to be choosy
  probe       finds out if an ejected one works again  hedge   the second copy of a slow call
  version_missing  the version of the traffic policy has no instance: any other one
Why a call was not sent:
  circuit_open, throttled, saturated, no_endpoint, fault_injected,
  retry_denied_budget, retry_denied_pushback, retry_denied_not_idempotent, retry_denied_deadline

Examples:
  docmesh mesh why document
  docmesh mesh why document --caller analysis --limit 5 --json`,
    )
    .action(
      ending<WhyOptions>(cli, async (options, service = '') => {
        const views = await withMesh(cli, options, (session) => callerViews(session, options, service))
        cli.io.stdout.write(
          options.json
            ? jsonText(
                views.map(({ caller, view }) => ({
                  caller,
                  ...(GetMeshViewResponse.toJSON(view) as object),
                })),
              )
            : `${decisionTable(views)}\n${incidentTable(views)}`,
        )
        return EXIT.ok
      }),
    )

/** Asks every instance; one that does not answer is told of and left out. */
async function callerViews(
  { registry, meshView }: MeshSession,
  { caller, limit = 20 }: WhyOptions,
  service: string,
): Promise<CallerView[]> {
  const instances = await allInstances(registry)
  const asked = instances.filter(
    ({ registration }) => !caller || registration?.service === caller || registration?.instanceId === caller,
  )
  const views = await Promise.all(
    asked.map(async ({ registration }) => {
      const view = await meshView(registration?.address ?? '', { service, limit }).catch(() => undefined)
      return view ? [{ caller: registration?.instanceId ?? '', view }] : []
    }),
  )
  return views.flat()
}

const byTime = <T extends { readonly at: Date | undefined }>(a: T, b: T): number =>
  (b.at?.getTime() ?? 0) - (a.at?.getTime() ?? 0)

function decisionTable(views: readonly CallerView[]): string {
  const decisions = views
    .flatMap(({ caller, view }) => view.decisions.map((decision) => ({ ...decision, caller })))
    .sort(byTime)
  const head = [
    'TIME (UTC)',
    'CALLER',
    'METHOD',
    'TRY',
    'WHY',
    'PICKED',
    'COST',
    'LOST',
    'COST',
    'CODE',
    'TOOK',
  ]
  return table(head, decisions.map(decisionRow))
}

function decisionRow(decision: CallDecision & { readonly caller: string }): string[] {
  const { at, caller, method, attempt, reason, picked, pickedCostMs, lost, lostCostMs, code, duration } =
    decision
  const took = durationMs(duration)
  return [
    timeText(at),
    caller,
    method.slice(method.lastIndexOf('.') + 1),
    String(attempt),
    reason,
    picked || '-',
    picked ? cost(pickedCostMs) : '-',
    lost || '-',
    lost ? cost(lostCostMs) : '-',
    code || '-',
    took === undefined ? '-' : `${took.toFixed(1)} ms`,
  ]
}

const cost = (ms: number): string => ms.toFixed(ms < 10 ? 2 : 0)

function incidentTable(views: readonly CallerView[]): string {
  const incidents = views
    .flatMap(({ caller, view }) => view.incidents.map((incident) => ({ ...incident, caller })))
    .sort(byTime)
  if (incidents.length === 0) return 'no incidents\n'
  const row = ({
    at,
    caller,
    kind,
    service,
    instanceId,
    methodClass,
    reason,
  }: CallerIncident & { caller: string }) => [
    timeText(at),
    caller,
    kind,
    service,
    instanceId || methodClass || '-',
    reason || '-',
  ]
  return table(['TIME (UTC)', 'CALLER', 'INCIDENT', 'SERVICE', 'OF', 'REASON'], incidents.map(row))
}

function breakerTable(
  breakers: readonly { readonly caller: string; readonly breaker: BreakerInfo }[],
): string {
  const rows = breakers.map(({ caller, breaker: { name, state, calls, failures, retryAt } }) => [
    caller,
    name,
    state,
    String(calls),
    String(failures),
    retryAt ? timeText(retryAt) : '-',
  ])
  return table(['CALLER', 'GUARDS', 'STATE', 'CALLS', 'FAILURES', 'TRIED AGAIN (UTC)'], rows)
}
