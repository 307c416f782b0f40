// The mesh against its peers: the same echo of 256 bytes, in separate processes, in turns. Ends in one line of JSON.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { freePort } from '@docmesh/testing'
import type { Round } from './mesh/child.ts'

const PEERS = ['raw', 'mesh', 'nice', 'connect', 'moleculer'] as const
type Peer = (typeof PEERS)[number]

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '6' },
    ms: { type: 'string', default: '2000' },
    'in-flight': { type: 'string', default: '64' },
    peers: { type: 'string', default: PEERS.join(',') },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(
    `npm run bench:mesh -- [--rounds 6] [--ms 2000] [--in-flight 64] [--peers ${PEERS.join(',')}]\n`,
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

function summary({ rounds, firstRss }: Side, raw: Side | undefined) {
  const of = (key: keyof Figures, digits: number): number =>
    Number(median(rounds.map((round) => round[key])).toFixed(digits))
  const ratios = rounds.map(({ rate }, index) => rate / (raw?.rounds[index]?.rate ?? Number.NaN))
  return {
    ratio_to_raw: raw ? Number(median(ratios).toFixed(3)) : null,
    calls_per_second: of('rate', 0),
    p50_ms: of('p50', 2),
    p99_ms: of('p99', 2),
    client_cpu_us: of('clientCpu', 1),
    server_cpu_us: of('serverCpu', 1),
    client_first_rss_mib: Math.round(firstRss / 2 ** 20),
    client_rss_mib: of('clientRss', 0),
    server_rss_mib: of('serverRss', 0),
  }
}

try {
  const sides = new Map<Peer, Side>()
  for (const peer of peers) sides.set(peer, await startSide(peer))
  for (const side of sides.values()) await turn(side)
  for (let round = 0; round < Number(values.rounds); round++) {
    const order = round % 2 === 0 ? [...sides] : [...sides].reverse()
    for (const [, side] of order) side.rounds.push(await turn(side))
    const rates = [...sides].map(([peer, { rounds }]) => `${peer} ${Math.round(rounds.at(-1)?.rate ?? 0)}/s`)
    process.stderr.write(`round ${round + 1} of ${values.rounds}: ${rates.join(', ')}\n`)
  }
  const raw = sides.get('raw')
  const results = Object.fromEntries([...sides].map(([peer, side]) => [peer, summary(side, raw)]))
  process.stdout.write(
    `${JSON.stringify({ bench: 'mesh', transport: 'grpc-js', in_flight: inFlight, ...results })}\n`,
  )
} finally {
  for (const child of children.reverse()) {
    child.disconnect()
    await once(child, 'exit')
  }
}
