// The mesh against its peers: the same echo of 256 bytes, in separate processes, in turns. Each set has new processes: equal
// ones differ by 5 % for as long as they live. Ends in one line of JSON.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { freePort } from '@docmesh/testing'
import type { Round } from './mesh/child.ts'

const PEERS = ['raw', 'deadline', 'mesh', 'nice', 'connect', 'moleculer'] as const
type Peer = (typeof PEERS)[number]
/** Of peer `deadline`: raw, but for the time limit that every call of the mesh has. */
const DEADLINE_MS = '5000'

const { values } = parseArgs({
  options: {
    sets: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    ms: { type: 'string', default: '2000' },
    'in-flight': { type: 'string', default: '64' },
    peers: { type: 'string', default: PEERS.join(',') },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(
    `npm run bench:mesh -- [--sets 3] [--rounds 3] [--ms 2000] [--in-flight 64] [--peers ${PEERS.join(',')}]\n`,
  )
  process.exit(0)
}
const peers = PEERS.filter((peer) => values.peers.split(',').includes(peer))
const ms = Number(values.ms)
const inFlight = Number(values['in-flight'])
const children: ChildProcess[] = []

interface Started {
  readonly child: ChildProcess
  readonly address: string
  readonly rssBytes: number
}

/** Starts a process and waits until it is ready. */
async function start(
  path: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Started> {
  const child = fork(new URL(path, import.meta.url), args, {
    env: { ...process.env, LOG_LEVEL: 'warn', ...env },
  })
  children.push(child)
  return { child, ...(await hear<Omit<Started, 'child'>>(child, 'ready')) }
}

async function hear<T>(child: ChildProcess, kind: string): Promise<T> {
  for (;;) {
    const [message] = (await once(child, 'message')) as [{ kind: string }]
    if (message.kind === kind) return message as T
  }
}

interface Figures {
  readonly rate: number
  readonly p50: number
  readonly p99: number
  readonly clientCpu: number
  readonly serverCpu: number
  readonly clientRss: number
  readonly serverRss: number
}

interface Side {
  readonly client: ChildProcess
  readonly server: ChildProcess
  /** Of the client after its first call: what its libraries cost before any load. */
  readonly firstRss: number
  readonly rounds: Figures[]
}

const sideOf = (server: Started, client: Started): Side => ({
  server: server.child,
  client: client.child,
  firstRss: client.rssBytes,
  rounds: [],
})

async function startSide(peer: Peer): Promise<Side> {
  if (peer === 'mesh') {
    const registry = await start('../../services/registry/src/main.ts', [], {
      GRPC_LISTEN: '127.0.0.1:0',
      REGISTRY_TARGET: '127.0.0.1:1',
    })
    const server = await start('mesh/mesh-server.ts', [], { REGISTRY_TARGET: registry.address })
    const client = await start('mesh/mesh-client.ts', [registry.address])
    return sideOf(server, client)
  }
  if (peer === 'moleculer') {
    const [serverPort, clientPort] = [await freePort(), await freePort()]
    const server = await start('mesh/moleculer-server.ts', [
      `${serverPort}`,
      `127.0.0.1:${clientPort}/client`,
    ])
    const client = await start('mesh/moleculer-client.ts', [
      `${clientPort}`,
      `127.0.0.1:${serverPort}/server`,
    ])
    return sideOf(server, client)
  }
  if (peer === 'deadline') {
    const server = await start('mesh/raw-server.ts')
    return sideOf(server, await start('mesh/raw-client.ts', [server.address, DEADLINE_MS]))
  }
  const server = await start(`mesh/${peer}-server.ts`)
  const client = await start(`mesh/${peer}-client.ts`, [server.address])
  return sideOf(server, client)
}

interface Usage {
  readonly micros: number
  readonly rssBytes: number
}

const usageOf = (child: ChildProcess): Promise<Usage> => {
  const heard = hear<Usage>(child, 'cpu')
  child.send({ kind: 'cpu' })
  return heard
}

async function turn({ client, server }: Side): Promise<Figures> {
  const before = await usageOf(server)
  const heard = hear<Round>(client, 'round')
  client.send({ kind: 'run', inFlight, ms })
  const { calls, seconds, latencies, cpuMicros, rssBytes } = await heard
  const after = await usageOf(server)
  const quantile = (q: number): number => latencies[Math.floor(latencies.length * q)] ?? 0
  return {
    rate: calls / seconds,
    p50: quantile(0.5),
    p99: quantile(0.99),
    clientCpu: cpuMicros / calls,
    serverCpu: (after.micros - before.micros) / calls,
    clientRss: rssBytes / 2 ** 20,
    serverRss: after.rssBytes / 2 ** 20,
  }
}

const median = (numbers: readonly number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

const roundsOf = (sides: readonly Side[]): Figures[] => sides.flatMap(({ rounds }) => rounds)

function summary(sides: readonly Side[], raw: readonly Side[]) {
  const rounds = roundsOf(sides)
  const rawRounds = roundsOf(raw)
  const of = (key: keyof Figures, digits: number): number =>
    Number(median(rounds.map((round) => round[key])).toFixed(digits))
  const ratios = rounds.map(({ rate }, index) => rate / (rawRounds[index]?.rate ?? Number.NaN))
  return {
    ratio_to_raw: raw.length > 0 ? Number(median(ratios).toFixed(3)) : null,
    calls_per_second: of('rate', 0),
    p50_ms: of('p50', 2),
    p99_ms: of('p99', 2),
    client_cpu_us: of('clientCpu', 1),
    server_cpu_us: of('serverCpu', 1),
    client_first_rss_mib: Math.round(median(sides.map(({ firstRss }) => firstRss)) / 2 ** 20),
    client_rss_mib: of('clientRss', 0),
    server_rss_mib: of('serverRss', 0),
  }
}

async function endChildren(): Promise<void> {
  for (const child of children.splice(0).reverse()) {
    child.disconnect()
    await once(child, 'exit')
  }
}

async function runSet(set: number): Promise<Map<Peer, Side>> {
  try {
    const sides = new Map<Peer, Side>()
    for (const peer of peers) sides.set(peer, await startSide(peer))
    for (const side of sides.values()) await turn(side)
    for (let round = 0; round < Number(values.rounds); round++) {
      const order = (set + round) % 2 === 0 ? [...sides] : [...sides].reverse()
      for (const [, side] of order) side.rounds.push(await turn(side))
      const rates = [...sides].map(
        ([peer, { rounds }]) => `${peer} ${Math.round(rounds.at(-1)?.rate ?? 0)}/s`,
      )
      process.stderr.write(`set ${set + 1}, round ${round + 1}: ${rates.join(', ')}\n`)
    }
    return sides
  } finally {
    await endChildren()
  }
}

const sets: Map<Peer, Side>[] = []
for (let set = 0; set < Number(values.sets); set++) sets.push(await runSet(set))
const sidesOf = (peer: Peer): Side[] => sets.flatMap((sides) => sides.get(peer) ?? [])
const results = peers.map((peer) => [peer, summary(sidesOf(peer), sidesOf('raw'))])
process.stdout.write(
  `${JSON.stringify({ bench: 'mesh', transport: 'grpc-js', in_flight: inFlight, ...Object.fromEntries(results) })}\n`,
)
