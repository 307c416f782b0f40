import { once } from 'node:events'
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EmbeddedPostgres, openPostgres, startEmbeddedPostgres } from '@docmesh/postgres'
import { defaultDatabaseUrl } from './test-database.ts'

type Found = { url: string | undefined; how: string }

const PROBE_TIMEOUT_MS = 1_000

/** First bytes a server sends after `greeting`; empty when nobody listens or it stays silent. */
const firstAnswer = async (url: string, greeting: string): Promise<string> => {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  try {
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS)
    socket.write(greeting)
    const [data] = await once(socket, 'data', { signal })
    return String(data)
  } catch {
    return ''
  } finally {
    socket.destroy()
  }
}

const canCreateDatabases = async (url: string): Promise<boolean> => {
  try {
    await using db = await openPostgres({
      url,
      schema: 'public',
      poolMax: 1,
      connectTimeoutMs: PROBE_TIMEOUT_MS,
    })
    const [role] = await db.query<{ able: boolean }>(
      'select rolsuper or rolcreatedb as able from pg_roles where rolname = current_user',
    )
    return role?.able ?? false
  } catch {
    return false
  }
}

let embedded: { server: EmbeddedPostgres; home: string } | undefined

const findPostgres = async (): Promise<Found> => {
  const given = process.env.TEST_DATABASE_URL ?? process.env.DATABASE_URL
  if (given !== undefined) return { url: given, how: 'URL given' }
  const url = defaultDatabaseUrl()
  if (await canCreateDatabases(url)) return { url, how: 'default port answers' }
  const home = await mkdtemp(join(tmpdir(), 'docmesh-test-'))
  // PostgreSQL runs as another user when we are root; that user must be able to pass.
  await chmod(home, 0o711)
  embedded = { server: await startEmbeddedPostgres({ dataDir: join(home, 'postgres') }), home }
  return { url: embedded.server.url, how: 'embedded' }
}

type Probe = { names: readonly string[]; url: string; greeting: string; expect: RegExp }

const findServer = async ({ names, url, greeting, expect }: Probe): Promise<Found> => {
  const given = names.map((name) => process.env[name]).find((value) => value !== undefined)
  if (given !== undefined) return { url: given, how: 'URL given' }
  return expect.test(await firstAnswer(url, greeting))
    ? { url, how: 'default port answers' }
    : { url: undefined, how: 'none' }
}

/** vitest globalSetup: finds the servers that integration tests use and names them in TEST_*_URL. */
export const setup = async (): Promise<void> => {
  const [postgres, nats, redis] = await Promise.all([
    findPostgres(),
    findServer({
      names: ['TEST_NATS_URL', 'NATS_URL'],
      url: 'nats://127.0.0.1:4222',
      greeting: '',
      expect: /^INFO .*"jetstream":\s*true/,
    }),
    findServer({
      names: ['TEST_REDIS_URL', 'REDIS_URL'],
      url: 'redis://127.0.0.1:6379',
      greeting: 'PING\r\n',
      expect: /^\+PONG/,
    }),
  ])
  const found = Object.entries({ DATABASE: postgres, NATS: nats, REDIS: redis })
  for (const [name, { url }] of found) if (url !== undefined) process.env[`TEST_${name}_URL`] = url
  process.stderr.write(`servers: PostgreSQL ${postgres.how}, NATS ${nats.how}, Redis ${redis.how}\n`)
}

export const teardown = async (): Promise<void> => {
  if (embedded === undefined) return
  const { server, home } = embedded
  embedded = undefined
  await server.stop()
  const data = await realpath(join(home, 'postgres'))
  await rm(data, { recursive: true, force: true })
  await rm(home, { recursive: true, force: true })
}
