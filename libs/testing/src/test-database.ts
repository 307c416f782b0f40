import { createHash, randomBytes } from 'node:crypto'
import { userInfo } from 'node:os'
import { type MigrateOptions, migrate, openPostgres, type Postgres, readMigrations } from '@docmesh/postgres'

export type TestDatabase = {
  readonly url: string
  /** Drops the database, whoever is still connected. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export type TestDatabaseOptions = {
  /** Schemas that every clone starts with; default: an empty database. */
  migrations?: readonly MigrateOptions[]
}

/** The server that tests use when nobody names another. */
export const defaultDatabaseUrl = (): string => `postgres://${userInfo().username}@127.0.0.1:5432/postgres`

const serverUrl = (): string =>
  process.env.TEST_DATABASE_URL ?? process.env.DATABASE_URL ?? defaultDatabaseUrl()

const inDatabase = (url: string, name: string): string => {
  const other = new URL(url)
  other.pathname = `/${name}`
  return other.href
}

const withServer = async <T>(url: string, use: (server: Postgres) => Promise<T>): Promise<T> => {
  await using server = await openPostgres({ url, schema: 'public', poolMax: 1, connectTimeoutMs: 5_000 })
  return await use(server)
}

// Names carry the day, so that what killed runs left behind can be told from what is in use.
const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10).replaceAll('-', '')
const today = (): string => dayOf(Date.now())
const DAY_MS = 86_400_000

const sweep = async (server: Postgres): Promise<void> => {
  const stale = await server.query<{ datname: string }>(
    String.raw`select datname from pg_database
    where datname ~ '^docmesh_(test|template)_\d{8}_' and split_part(datname, '_', 3) < $1`,
    [dayOf(Date.now() - DAY_MS)],
  )
  for (const { datname } of stale) await server.query(`drop database if exists ${datname} with (force)`)
}

const fingerprint = async (migrations: readonly MigrateOptions[]): Promise<string> => {
  const hash = createHash('sha256')
  for (const { schema, migrations: folder } of migrations)
    for (const { name, sha256 } of await readMigrations(folder)) hash.update(`${schema} ${name} ${sha256}\n`)
  return hash.digest('hex').slice(0, 16)
}

const ensureTemplate = async (server: Postgres, migrations: readonly MigrateOptions[]): Promise<string> => {
  const name = `docmesh_template_${today()}_${await fingerprint(migrations)}`
  const exists = async (): Promise<boolean> =>
    (await server.query('select from pg_database where datname = $1', [name])).length > 0
  if (await exists()) return name
  await server.query('select pg_advisory_lock(hashtextextended($1, 0))', ['docmesh.test-template'])
  try {
    if (await exists()) return name
    await sweep(server)
    // Renamed when it is whole: a build that was killed is never cloned.
    await server.query(`drop database if exists ${name}_building with (force)`)
    await server.query(`create database ${name}_building template template0 encoding 'UTF8'`)
    const [first] = migrations
    await using building = await openPostgres({
      url: inDatabase(server.url, `${name}_building`),
      schema: first?.schema ?? 'public',
      poolMax: 1,
    })
    for (const migration of migrations) await migrate(building, migration)
    await building.close()
    await server.query(`alter database ${name}_building rename to ${name}`)
    return name
  } finally {
    await server.query('select pg_advisory_unlock(hashtextextended($1, 0))', ['docmesh.test-template'])
  }
}

/**
 * A database of one test file's own: a clone of a template that is migrated once and shared by every run with the
 * same migrations. Close it in `afterAll`.
 */
export const testDatabase = async ({ migrations = [] }: TestDatabaseOptions = {}): Promise<TestDatabase> => {
  const url = serverUrl()
  const name = `docmesh_test_${today()}_${randomBytes(6).toString('hex')}`
  await withServer(url, async (server) => {
    const template = await ensureTemplate(server, migrations)
    await server.query(`create database ${name} template ${template}`)
  })
  const close = (): Promise<void> =>
    withServer(url, async (server) => {
      await server.query(`drop database if exists ${name} with (force)`)
    })
  return { url: inDatabase(url, name), close, [Symbol.asyncDispose]: close }
}
