// Stock clients of xDS against a real registry and real instances that come, go and change versions.
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { ClientResourceStatus } from '@docmesh/contracts/envoy/admin/v3/config_dump_shared'
import {
  type Answer,
  type Programs,
  startCpp,
  startGrpcJs,
  startPython,
  startRuby,
  type XdsClient,
} from './xds-clients.ts'
import { startXdsMesh, type XdsMesh } from './xds-mesh.ts'

/** One line of the output. */
export interface Outcome {
  readonly scenario: string
  readonly ok: boolean
  readonly calls: number
  readonly failed: number
  readonly detail: Readonly<Record<string, unknown>>
}

const TARGET = 'xds:///echo'
const PATIENCE_MS = 20_000
const SPLIT_CALLS = 1_000
const CANARY_PERCENT = 10
const DOWN_MS = 1_500

/** What a client saw in one scenario. */
function record(client: XdsClient) {
  const failures: Record<string, number> = {}
  let calls = 0
  async function ask(count: number): Promise<Answer> {
    const answered = await client.ask({ target: TARGET, calls: count })
    for (const [answer, times] of Object.entries(answered.counts)) {
      calls += times
      if (/^[A-Z_]+ /.test(answer)) failures[answer] = (failures[answer] ?? 0) + times
    }
    return answered
  }
  return {
    ask,
    /** Calls until the instances that answer are such; returns how long that took. */
    async until(fits: (instances: ReadonlySet<string>) => boolean): Promise<number> {
      const begun = performance.now()
      for (;;) {
        const { counts } = await ask(20)
        const ms = Math.round(performance.now() - begun)
        if (fits(new Set(Object.keys(counts).map((answer) => answer.split(' ')[1] ?? '')))) return ms
        if (ms > PATIENCE_MS) throw new Error(`${client.name} still sees ${Object.keys(counts)}`)
      }
    },
    outcome(scenario: string, ok: boolean, detail: Record<string, unknown>, allowed = 0): Outcome {
      const failed = Object.values(failures).reduce((sum, times) => sum + times, 0)
      return {
        scenario: `xds_${client.name}_${scenario}`,
        ok: ok && failed <= allowed,
        calls,
        failed,
        detail: failed > 0 ? { ...detail, failures } : detail,
      }
    },
  }
}

type Report = (outcome: Outcome) => void

/** Runs every scenario with every client, and reports each once. */
export async function runXds(programs: Omit<Programs, 'bootstrap'>, folder: string, report: Report) {
  const mesh = await startXdsMesh()
  const clients: XdsClient[] = []
  try {
    const registry = await mesh.startRegistry()
    const [, leaving] = await Promise.all([mesh.startEcho('a', '1.0.0'), mesh.startEcho('b', '1.0.0')])
    const all = { ...programs, bootstrap: (node: string) => mesh.bootstrap(folder, node) }
    clients.push(await startPython(all), await startGrpcJs(all))
    if (all.ruby) clients.push(await startRuby(all.ruby, all))
    if (all.cpp) clients.push(await startCpp(all.cpp, all))
    const each = async (scenario: (client: XdsClient) => Promise<Outcome>) => {
      for (const outcome of await Promise.all(clients.map(scenario))) report(outcome)
    }

    await each(call)
    await endpointChange(mesh, leaving, clients, report)
    await mesh.startEcho('canary', '2.0.0')
    await mesh.registry.putTrafficPolicy({
      policy: {
        service: 'echo',
        weights: [
          { version: '1.0.0', weight: 100 - CANARY_PERCENT },
          { version: '2.0.0', weight: CANARY_PERCENT },
        ],
      },
    })
    await each(split)
    await each(unknownName)
    await controlPlaneRestart(mesh, registry, clients, report)
    report(await clientStatus(mesh, clients))
  } finally {
    await Promise.all(clients.map((client) => client.close()))
    await mesh.close()
  }
}

async function call(client: XdsClient): Promise<Outcome> {
  const seen = record(client)
  const { ms } = await seen.ask(1)
  const { counts } = await seen.ask(100)
  return seen.outcome('call', Object.keys(counts).length === 2, { first_call_ms: ms, counts })
}

/** Well before the 15 s after which a client stops waiting for a name. */
const SOON_MS = 2_000

async function unknownName(client: XdsClient): Promise<Outcome> {
  const { counts, ms } = await client.ask({ target: 'xds:///nobody', calls: 1 })
  const [answer = ''] = Object.keys(counts)
  return {
    scenario: `xds_${client.name}_unknown_name`,
    ok: answer.startsWith('UNAVAILABLE ') && ms < SOON_MS,
    calls: 1,
    failed: 1,
    detail: { ms, answer },
  }
}

/** One instance joins, one drains, one is killed: clients follow, and lose at most the call that the killed one had. */
async function endpointChange(
  mesh: XdsMesh,
  leaving: ChildProcess,
  clients: readonly XdsClient[],
  report: Report,
) {
  const joined = await mesh.startEcho('c', '1.0.0')
  const seen = clients.map((client) => record(client))
  const joinedMs = await Promise.all(seen.map(({ until }) => until((ids) => ids.has('c'))))
  leaving.kill('SIGTERM')
  const drainedMs = await Promise.all(seen.map(({ until }) => until((ids) => !ids.has('b'))))
  if (leaving.exitCode === null) await once(leaving, 'exit')
  await Promise.all(seen.map(({ ask }) => ask(20)))
  joined.kill('SIGKILL')
  const killedMs = await Promise.all(seen.map(({ until }) => until((ids) => ids.size === 1 && ids.has('a'))))
  for (const [at, { outcome }] of seen.entries()) {
    const detail = { joined_ms: joinedMs[at], drained_ms: drainedMs[at], killed_ms: killedMs[at] }
    report(outcome('endpoint_change', true, detail, 1))
  }
}

async function split(client: XdsClient): Promise<Outcome> {
  const seen = record(client)
  const followedMs = await seen.until((ids) => ids.has('canary'))
  const { counts } = await seen.ask(SPLIT_CALLS)
  const canary = counts['2.0.0 canary'] ?? 0
  const expected = (SPLIT_CALLS * CANARY_PERCENT) / 100
  const deviation = Math.sqrt(expected * (1 - CANARY_PERCENT / 100))
  const ok = Math.abs(canary - expected) < 5 * deviation
  return seen.outcome('split_90_10', ok, { followed_ms: followedMs, canary_of_1000: canary })
}

/** Killed, down for a while, and back with nothing but its database: nothing is lost, and changes are followed again. */
async function controlPlaneRestart(
  mesh: XdsMesh,
  registry: ChildProcess,
  clients: readonly XdsClient[],
  report: Report,
) {
  const seen = clients.map((client) => record(client))
  registry.kill('SIGKILL')
  const backAt = performance.now() + DOWN_MS
  await Promise.all(
    seen.map(async ({ ask }) => {
      while (performance.now() < backAt) await ask(20)
    }),
  )
  const back = mesh.startRegistry().then(() => mesh.startEcho('d', '1.0.0'))
  const followedMs = await Promise.all([
    ...seen.map(({ until }) => until((ids) => ids.has('d'))),
    back.then(() => 0),
  ])
  const canaries = await Promise.all(
    seen.map(async ({ ask }) => (await ask(SPLIT_CALLS)).counts['2.0.0 canary'] ?? 0),
  )
  for (const [at, { outcome }] of seen.entries()) {
    const canary = canaries[at] ?? 0
    report(
      outcome('control_plane_restart', canary > 0 && canary < SPLIT_CALLS / 5, {
        down_ms: DOWN_MS,
        followed_ms: followedMs[at],
        canary_of_1000: canary,
      }),
    )
  }
}

/** The registry knows of every client, and they have refused nothing. */
async function clientStatus({ status }: XdsMesh, clients: readonly XdsClient[]): Promise<Outcome> {
  const { config } = await status.fetchClientStatus({})
  const refused = config.flatMap(({ genericXdsConfigs }) =>
    genericXdsConfigs.filter(({ clientStatus }) => clientStatus === ClientResourceStatus.NACKED),
  )
  return {
    scenario: 'xds_client_status',
    ok: config.length === clients.length && refused.length === 0,
    calls: 1,
    failed: 0,
    detail: {
      clients: config.map(
        ({ node, genericXdsConfigs }) => `${node?.id}: ${genericXdsConfigs.length} resources`,
      ),
      refused: refused.map(({ name, errorState }) => `${name}: ${errorState?.details}`),
    },
  }
}
