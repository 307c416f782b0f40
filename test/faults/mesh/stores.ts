// The servers behind the registry, and the network between the instances.
import { execFile, spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { startEmbeddedPostgres } from '@docmesh/postgres'
import { type Client, codeName, createClient, grpcJsClient, RpcError, sendOver } from '@docmesh/rpc'
import { eventually, freePort } from '@docmesh/testing'
import { type Lab, startLab } from './lab.ts'
import { end } from './processes.ts'
import { calledAgain, type Result, type Scenario, skipped, summary, WARM_UP_MS } from './scenarios.ts'

export async function withRegistries<T>(
  { registryTargets }: Pick<Lab, 'registryTargets'>,
  run: (registries: readonly Client<typeof RegistryServiceDefinition>[]) => Promise<T>,
): Promise<T> {
  const connections = registryTargets.map((target) => grpcJsClient.connect(target))
  try {
    return await run(connections.map((each) => createClient(RegistryServiceDefinition, sendOver(each))))
  } finally {
    for (const connection of connections) connection.close()
  }
}

async function inFolder(run: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'docmesh-faults-'))
  try {
    return await run(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function startRedis(folder: string, port: number) {
  const server = spawn(
    'redis-server',
    ['--port', `${port}`, '--save', '', '--appendonly', 'no', '--dir', folder],
    {
      stdio: 'ignore',
    },
  )
  await eventually(async () => {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
    } finally {
      socket.destroy()
    }
  })
  return server
}

const redisRestarted: Scenario = async () => {
  const bar = '0 failed; an instance that joins without Redis is seen; replication resumes'
  if (spawnSync('redis-server', ['--version']).status !== 0) return skipped('no redis-server here', bar)
  return inFolder(async (folder) => {
    const port = await freePort()
    let redis = await startRedis(folder, port)
    try {
      await using lab = await startLab({ registries: 2, env: { REDIS_URL: `redis://127.0.0.1:${port}` } })
      return await withRegistries(lab, async (registries) => {
        const replicating = (wanted: boolean) =>
          eventually(async () => {
            const states = await Promise.all(registries.map((each) => each.getStatus({})))
            if (states.some((state) => state.replicating !== wanted))
              throw new Error(`replicating is not ${wanted}`)
          })
        await replicating(true)
        const load = lab.load({ perSecond: 100 })
        await delay(WARM_UP_MS)
        await end(redis, 'SIGKILL')
        await replicating(false)
        await lab.ready([await lab.startEcho()])
        redis = await startRedis(folder, port)
        const backAt = performance.now()
        await replicating(true)
        const replicating_again_ms = Math.round(performance.now() - backAt)
        await delay(1_000)
        const result = summary(await load.stop())
        return { ok: result.failed === 0, ...result, replicating_again_ms, bar }
      })
    } finally {
      await end(redis, 'SIGKILL')
    }
  })
}

const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'OK',
    (error: unknown) => (error instanceof RpcError ? codeName(error.code) : String(error)),
  )

const postgresRestarted: Scenario = () =>
  inFolder(async (folder) => {
    const port = await freePort()
    const dataDir = join(folder, 'postgres')
    let postgres = await startEmbeddedPostgres({ dataDir, port })
    try {
      await using lab = await startLab({ registries: 2, env: { DATABASE_URL: postgres.url } })
      return await withRegistries(lab, async ([one, other]) => {
        if (!one || !other) throw new Error('two registries are needed')
        const [instance] = (await one.listInstances({ service: 'echo' })).instances
        const version = instance?.registration?.version ?? ''
        const put = (weight: number) =>
          one.putTrafficPolicy({
            policy: { service: 'echo', weights: [{ version, weight }] },
            requestId: randomUUID(),
          })
        const known = () =>
          eventually(async () => {
            const { policy } = await other.getTrafficPolicy({ service: 'echo' })
            if (policy?.weights.length !== 1) throw new Error('the other replica does not know the policy')
          })
        await eventually(() => put(100))
        await known()
        const load = lab.load({ perSecond: 100 })
        await delay(WARM_UP_MS)
        process.kill(
          Number(readFileSync(join(dataDir, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]),
          'SIGKILL',
        )
        const put_while_down = await codeOf(put(100))
        await known()
        await lab.ready([await lab.startEcho()])
        postgres = await startEmbeddedPostgres({ dataDir, port })
        const backAt = performance.now()
        await eventually(() => put(100))
        const put_again_ms = Math.round(performance.now() - backAt)
        await delay(1_000)
        const result = summary(await load.stop())
        const ok = result.failed === 0 && put_while_down === 'UNAVAILABLE'
        const bar =
          '0 failed; policies stay in force; a change answers UNAVAILABLE while it is down and works afterwards'
        return { ok, ...result, put_while_down, put_again_ms, bar }
      })
    } finally {
      await postgres.stop()
    }
  })

const run = promisify(execFile)
const ip = (command: string): Promise<unknown> => run('ip', command.split(' '))

/** One instance in a network of its own, whose cable is pulled: packets vanish, nobody is told. */
const networkCut: Scenario = async ({ short }) => {
  const id = process.pid % 250
  const [namespace, outside, inside] = [`docmesh-${id}`, `dm${id}a`, `dm${id}b`]
  const [host, guest] = [`10.213.${id}.1`, `10.213.${id}.2`]
  const bar = '<= 10 failed of 50/s with 500 ms deadline, healed within 1 s'
  try {
    await ip(`netns add ${namespace}`)
  } catch (error) {
    return skipped(`no network namespaces here: ${(error as Error).message}`, bar)
  }
  try {
    await ip(`link add ${outside} type veth peer name ${inside} netns ${namespace}`)
    await ip(`addr add ${host}/30 dev ${outside}`)
    await ip(`link set ${outside} up`)
    await ip(`-n ${namespace} addr add ${guest}/30 dev ${inside}`)
    await ip(`-n ${namespace} link set ${inside} up`)
    await ip(`-n ${namespace} link set lo up`)
    await using lab = await startLab({ echoes: 2, host })
    const remote = await lab.startEcho({ namespace, env: { GRPC_LISTEN: `${guest}:0` } })
    await lab.ready([remote])
    const load = lab.load({ perSecond: 50, timeoutMs: 500 })
    await delay(WARM_UP_MS)
    await ip(`-n ${namespace} link set ${inside} down`)
    await delay(5_000)
    const result = summary(await load.stop())
    const ok = result.failed <= 10 && result.heal_ms <= 1_000
    if (short) return { ok, ...result, bar }
    await ip(`-n ${namespace} link set ${inside} up`)
    const back_ms = await calledAgain(lab, remote)
    return { ok, ...result, back_ms, bar }
  } finally {
    await ip(`netns del ${namespace}`)
  }
}

export const storeScenarios: Readonly<Record<string, Scenario>> = {
  'redis-restarted': redisRestarted,
  'postgres-restarted': postgresRestarted,
  'network-cut': networkCut,
}
