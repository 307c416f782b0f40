// The mesh against raw grpc-js: the same echo, in separate processes, in turns. Ends in one line of JSON.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Round } from './mesh/child.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '6' },
    ms: { type: 'string', default: '2000' },
    'in-flight': { type: 'string', default: '64' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write('npm run bench:mesh -- [--rounds 6] [--ms 2000] [--in-flight 64]\n')
  process.exit(0)
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const children: ChildProcess[] = []

function start(path: string, args: readonly string[] = [], env: Record<string, string> = {}): ChildProcess {
  const child = fork(here(path), args, { env: { ...process.env, LOG_LEVEL: 'warn', ...env } })
  children.push(child)
  return child
}

async function hear<T>(child: ChildProcess, kind: string): Promise<T> {
  for (;;) {
    const [message] = (await once(child, 'message')) as [{ kind: string }]
    if (message.kind === kind) return message as T
  }
}

interface Side {
  readonly client: ChildProcess
  readonly server: ChildProcess
  readonly rounds: { rate: number; p50: number; p99: number; client: number; server: number }[]
}

const cpuOf = (child: ChildProcess): Promise<{ micros: number }> => {
  const heard = hear<{ micros: number }>(child, 'cpu')
  child.send({ kind: 'cpu' })
  return heard
}

async function turn({ client, server, rounds }: Side, ms: number, keep: boolean): Promise<void> {
  const before = await cpuOf(server)
  const heard = hear<Round>(client, 'round')
  client.send({ kind: 'run', inFlight: Number(values['in-flight']), ms })
  const { calls, seconds, latencies, cpuMicros } = await heard
  const after = await cpuOf(server)
  const quantile = (q: number): number => latencies[Math.floor(latencies.length * q)] ?? 0
  const round = {
    rate: calls / seconds,
    p50: quantile(0.5),
    p99: quantile(0.99),
    client: cpuMicros / calls,
    server: (after.micros - before.micros) / calls,
  }
  if (keep) rounds.push(round)
}

const median = (numbers: readonly number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

function summary({ rounds }: Side) {
  const of = (key: keyof Side['rounds'][number], digits: number): number =>
    Number(median(rounds.map((round) => round[key])).toFixed(digits))
  return {
    calls_per_second: of('rate', 0),
    p50_ms: of('p50', 2),
    p99_ms: of('p99', 2),
    client_cpu_us: of('client', 1),
    server_cpu_us: of('server', 1),
  }
}

try {
  const registry = start('../../services/registry/src/main.ts', [], {
    GRPC_LISTEN: '127.0.0.1:0',
    REGISTRY_TARGET: '127.0.0.1:1',
  })
  const { address: registryAddress } = await hear<{ address: string }>(registry, 'ready')
  const rawServer = start('mesh/raw-server.ts')
  const { address } = await hear<{ address: string }>(rawServer, 'ready')
  const meshServer = start('mesh/mesh-server.ts', [], { REGISTRY_TARGET: registryAddress })
  await hear(meshServer, 'ready')
  const raw: Side = { server: rawServer, client: start('mesh/client.ts', ['raw', address]), rounds: [] }
  await hear(raw.client, 'ready')
  const mesh: Side = {
    server: meshServer,
    client: start('mesh/client.ts', ['mesh', registryAddress]),
    rounds: [],
  }
  await hear(mesh.client, 'ready')

  const ms = Number(values.ms)
  for (const side of [raw, mesh]) await turn(side, ms, false)
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const side of round % 2 === 0 ? [raw, mesh] : [mesh, raw]) await turn(side, ms, true)
    process.stderr.write(
      `round ${round + 1} of ${values.rounds}: raw ${Math.round(raw.rounds.at(-1)?.rate ?? 0)}/s, mesh ${Math.round(mesh.rounds.at(-1)?.rate ?? 0)}/s\n`,
    )
  }
  const ratio = median(mesh.rounds.map(({ rate }, index) => rate / (raw.rounds[index]?.rate ?? Number.NaN)))
  const line = {
    bench: 'mesh',
    transport: 'grpc-js',
    in_flight: Number(values['in-flight']),
    ratio: Number(ratio.toFixed(3)),
    raw: summary(raw),
    mesh: summary(mesh),
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
} finally {
  for (const child of children.reverse()) child.kill()
}
