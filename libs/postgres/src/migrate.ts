import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assertSchemaName } from './connection.ts'
import type { Postgres } from './postgres.ts'
import type { Queryable } from './transaction.ts'

export type MigrateOptions = {
  schema: string
  /** Folder of `0001_name.sql` files. */
  migrations: URL | string
}

type Migration = { id: number; name: string; sql: string; sha256: string }
type Applied = { id: number; name: string; sha256: string }

const FILE_NAME = /^(\d{4})_[a-z0-9_-]+\.sql$/

/** Reads a folder of numbered SQL files, in order. */
export const readMigrations = async (folder: URL | string): Promise<Migration[]> => {
  const path = folder instanceof URL ? fileURLToPath(folder) : folder
  const names = (await readdir(path)).filter((name) => name.endsWith('.sql')).sort()
  const migrations: Migration[] = []
  for (const name of names) {
    const id = Number(FILE_NAME.exec(name)?.[1] ?? Number.NaN)
    if (Number.isNaN(id)) throw new Error(`migration ${name}: name it like 0001_documents.sql`)
    if (migrations.at(-1)?.id === id)
      throw new Error(`migrations ${migrations.at(-1)?.name} and ${name} have one number: renumber the newer`)
    const sql = await readFile(join(path, name), 'utf8')
    migrations.push({ id, name, sql, sha256: createHash('sha256').update(sql).digest('hex') })
  }
  return migrations
}

/** Throws when the files and what is applied contradict each other; otherwise returns the files yet to apply. */
export const pendingMigrations = (files: readonly Migration[], applied: readonly Applied[]): Migration[] => {
  const byId = new Map(applied.map((row) => [row.id, row]))
  const last = applied.reduce((max, { id }) => Math.max(max, id), 0)
  return files.filter(({ id, name, sha256 }) => {
    const row = byId.get(id)
    if (row !== undefined && row.sha256 !== sha256)
      throw new Error(
        `migration ${name} was changed after it was applied (as ${row.name}): ` +
          'restore the file and put the change into a new one with the next number',
      )
    if (row === undefined && id < last)
      throw new Error(
        `migration ${name} comes before number ${last}, already applied: give it the next number`,
      )
    return row === undefined
  })
}

const lockAndReadApplied = async (tx: Queryable, schema: string): Promise<Applied[]> => {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`docmesh.migrations.${schema}`])
  await tx.query(`
    create schema if not exists ${schema};
    create table if not exists ${schema}.migrations (
      id int primary key,
      name text not null,
      sha256 text not null,
      applied_at timestamptz not null default now()
    )`)
  return tx.query<Applied>(`select id, name, sha256 from ${schema}.migrations order by id`)
}

/** Applies the first file that is missing, and returns how many are missing then. */
const applyNext = async (tx: Queryable, schema: string, files: readonly Migration[]): Promise<number> => {
  const [next, ...rest] = pendingMigrations(files, await lockAndReadApplied(tx, schema))
  if (next === undefined) return 0
  await tx.query(`set local search_path to ${schema}`)
  try {
    await tx.query(next.sql)
  } catch (error) {
    throw new Error(`migration ${next.name} of schema ${schema} failed: ${(error as Error).message}`, {
      cause: error,
    })
  }
  await tx.query(`insert into ${schema}.migrations (id, name, sha256) values ($1, $2, $3)`, [
    next.id,
    next.name,
    next.sha256,
  ])
  return rest.length
}

/**
 * Brings a schema forward, each file in a transaction of its own, under an advisory lock: many instances may start
 * at once. Files newer than this folder are left alone, so that old instances can run beside new ones.
 */
export const migrate = async (db: Postgres, { schema, migrations }: MigrateOptions): Promise<void> => {
  assertSchemaName(schema)
  const files = await readMigrations(migrations)
  let pending: number
  do {
    pending = await db.transaction((tx) => applyNext(tx, schema, files), { statementTimeoutMs: 0 })
  } while (pending > 0)
}
