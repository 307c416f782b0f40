import { chmodSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  SystemHealthChecked,
  SystemRecoveryCompleted,
  SystemRecoveryStarted,
} from '@docmesh/contracts/ops/v1/events'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { silentLogger } from '@docmesh/telemetry'
import { eventually, freePort, testDatabase } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { childEnv } from '../child-env.ts'
import { REPO_ROOT } from '../data-dir.ts'
import { type Instances, type LocalMesh, startLocalMesh } from '../local-mesh.ts'
import { actAs, connectMesh } from '../mesh-session.ts'
import type { ProcessSpec } from '../supervised-process.ts'
import { createSupervisor } from '../supervisor.ts'
import { testIo } from '../testing.fixture.ts'
import { startHealing } from './healing.ts'

/** Fast to notice a fault; slow to take a busy machine for one. */
const HEALING = { intervalMs: 500, timeoutMs: 2_000, settleMs: 100, verifyMs: 20_000 }
const OPERATOR = 'ops'
const PATIENCE = { timeoutMs: 60_000, intervalMs: 100 }

const ownFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'docmesh-healing-'))
  chmodSync(folder, 0o755) // the user that PostgreSQL runs as has to enter it
  return folder
}

async function startMesh(stack: AsyncDisposableStack, instances: Instances, env: Record<string, string>) {
  const dataDir = ownFolder()
  stack.defer(() => rmSync(dataDir, { recursive: true, force: true }))
  const io = testIo({ env: { PATH: process.env.PATH ?? '', LOG_LEVEL: 'warn', ...env } })
  const registry = `127.0.0.1:${await freePort()}`
  const options = { dataDir, registry, instances, shared: false, verbose: false, healing: HEALING }
  const started = await startLocalMesh(options, io.io)
  if (started.kind !== 'started') throw new Error('the folder is held')
  stack.defer(() => started.mesh.stop())
  return { mesh: started.mesh, registry, dataDir }
}

/** Pid of an instance, as it says itself. */
async function pidOf(mesh: LocalMesh, name: string) {
  const state = mesh
    .processes()
    .find(({ spec }) => spec.name === name)
    ?.state()
  if (state?.kind !== 'ready') throw new Error(`${name} does not run`)
  const session = await connectMesh({ targets: [mesh.registry], logger: silentLogger })
  try {
    return (await session.diagnose(state.address)).process?.pid ?? 0
  } finally {
    await session.close()
  }
}

interface Told {
  readonly type: string
  readonly payload: Buffer
}

/** `failing health/a`, `passing health/a`, `restart health/a`, `healed …` or `escalated …`, as the database has them. */
async function logOf(db: Postgres): Promise<string[]> {
  const rows = await db.query<Told>(
    "select type, payload from events.log where aggregate_type = 'system' order by version",
  )
  const checkOf = new Map<string, string>()
  return rows.map(({ type, payload }) => {
    if (type === SystemHealthChecked.$type) {
      const { check, healthy } = SystemHealthChecked.decode(payload)
      return `${healthy ? 'passing' : 'failing'} ${check}`
    }
    if (type === SystemRecoveryStarted.$type) {
      const { recoveryId, check, action } = SystemRecoveryStarted.decode(payload)
      checkOf.set(recoveryId, check)
      return `${action} ${check}`
    }
    const { recoveryId, succeeded } = SystemRecoveryCompleted.decode(payload)
    return `${succeeded ? 'healed' : 'escalated'} ${checkOf.get(recoveryId)}`
  })
}

async function feedOf(registry: string): Promise<string[]> {
  const session = await connectMesh({ targets: [registry], logger: silentLogger })
  try {
    const caller = { userId: OPERATOR, tenantId: '', signal: AbortSignal.timeout(10_000) }
    const { notifications } = await actAs(caller, async () => {
      await session.awaitServices(['notification'])
      return session.notifications.listNotifications({ pageSize: 100 })
    })
    return notifications.map(({ title }) => title)
  } finally {
    await session.close()
  }
}

describe('a mesh that mends itself', () => {
  it('restarts an instance that is frozen, once, makes sure of it, and tells the operators', async () => {
    await using stack = new AsyncDisposableStack()
    const { url } = stack.use(await testDatabase())
    const instances = { document: 2, analysis: 0, notification: 1 }
    const env = { DATABASE_URL: url, NOTIFICATION_OPERATORS: OPERATOR }
    const { mesh, registry } = await startMesh(stack, instances, env)
    const db = stack.use(await openPostgres({ url, schema: 'events', poolMax: 1 }))
    const frozen = await pidOf(mesh, 'document-1')
    process.kill(frozen, 'SIGSTOP')

    const mine = async () => (await logOf(db)).filter((line) => line.endsWith('/document-1'))
    await eventually(async () => {
      expect(await mine()).toEqual([
        'failing health/document-1',
        'restart health/document-1',
        'passing health/document-1',
        'healed health/document-1',
      ])
    }, PATIENCE)
    expect(await pidOf(mesh, 'document-1')).not.toBe(frozen)
    expect(() => process.kill(frozen, 0)).toThrow('ESRCH')
    await eventually(async () => {
      const feed = await feedOf(registry)
      expect(feed.filter((title) => title.includes('document-1')).sort()).toEqual([
        'The check health/document-1 failed',
        'The check health/document-1 passes again',
      ])
    }, PATIENCE)
    expect(await mine()).toHaveLength(4)
  }, 120_000)

  it('starts its database again that was killed, where it was, and then writes down what happened', async () => {
    await using stack = new AsyncDisposableStack()
    const { mesh, dataDir } = await startMesh(stack, { document: 1, analysis: 0, notification: 0 }, {})
    const pidFile = join(realpathSync(join(dataDir, 'postgres')), 'data', 'postmaster.pid')
    const [pid, , , port] = readFileSync(pidFile, 'utf8').split('\n')
    const document = await pidOf(mesh, 'document')
    process.kill(Number(pid), 'SIGKILL')

    const url = `postgres://postgres@127.0.0.1:${port}/postgres`
    const db = stack.use(await openPostgres({ url, schema: 'events', poolMax: 1, connectTimeoutMs: 60_000 }))
    expect(readFileSync(pidFile, 'utf8').split('\n')[0]).not.toBe(pid)
    await eventually(async () => {
      expect((await logOf(db)).filter((line) => line.endsWith('/postgres'))).toEqual([
        'failing database/postgres',
        'restart database/postgres',
        'passing database/postgres',
        'healed database/postgres',
      ])
    }, PATIENCE)
    expect(await pidOf(mesh, 'document')).toBe(document) // it is not to blame
  }, 120_000)

  it('stops trying at the cap with a service that cannot become well, and calls for people once', async () => {
    await using stack = new AsyncDisposableStack()
    const { url } = stack.use(await testDatabase())
    const dataDir = ownFolder()
    stack.defer(() => rmSync(dataDir, { recursive: true, force: true }))
    const notes = join(dataDir, 'notes')
    const hopeless = join(dataDir, 'hopeless.mjs')
    writeFileSync(hopeless, HOPELESS)
    const registry = `127.0.0.1:${await freePort()}`
    const user = { PATH: process.env.PATH, LOG_LEVEL: 'warn', NOTIFICATION_OPERATORS: OPERATOR, NOTES: notes }
    const specOf = (service: string, name: string): ProcessSpec => ({
      name,
      service,
      script: service === 'hopeless' ? hopeless : join(REPO_ROOT, 'services', service, 'src', 'main.ts'),
      execArgv: [],
      env: childEnv(service, { user, registry, databaseUrl: url, dataDir }),
      logFile: join(dataDir, `${name}.log`),
    })
    const supervisor = createSupervisor()
    stack.defer(() => supervisor.stop())
    await supervisor.start([specOf('registry', 'registry')])
    await supervisor.start([specOf('notification', 'notification'), specOf('hopeless', 'hopeless')])
    const deps = { supervisor, postgres: undefined, databaseUrl: url, registry, dataDir, specOf }
    const options = { ...HEALING, timeoutMs: 1_000, verifyMs: 1_000, perTarget: 2 }
    const healing = await startHealing(options, deps)
    stack.defer(() => healing.stop())

    const db = stack.use(await openPostgres({ url, schema: 'events', poolMax: 1 }))
    const mine = async () => (await logOf(db)).filter((line) => line.endsWith('/hopeless'))
    const expected = [
      'failing health/hopeless',
      'restart health/hopeless',
      'open-circuit health/hopeless',
      'escalated health/hopeless',
    ]
    await eventually(async () => expect(await mine()).toEqual(expected), PATIENCE)
    await eventually(async () => {
      const feed = await feedOf(registry)
      expect(feed.filter((title) => /could not/.test(title))).toEqual(['The system could not mend itself'])
    }, PATIENCE)

    const lines = () => readFileSync(notes, 'utf8').trim().split('\n')
    const asked = lines().length
    await eventually(() => expect(lines().length).toBeGreaterThan(asked + 8), PATIENCE)
    expect(await mine()).toEqual(expected)
    expect(lines().filter((line) => line === 'start')).toHaveLength(2)
  }, 180_000)
})

/** Says that it is ready, and never answers how it is. */
const HOPELESS = `import { appendFileSync } from 'node:fs'
import { createServer } from 'node:http'
const note = (text) => appendFileSync(process.env.NOTES, text + '\\n')
note('start')
process.on('SIGTERM', () => process.exit(0))
process.on('disconnect', () => process.exit(0))
const server = createServer(() => note('asked'))
server.listen(0, '127.0.0.1', () => {
  const adminAddress = '127.0.0.1:' + server.address().port
  process.send({ kind: 'ready', address: adminAddress, adminAddress, instanceId: 'hopeless' })
})
`
