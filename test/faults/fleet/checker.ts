import type { Postgres, Queryable } from '@docmesh/postgres'
import { checkBlobs } from './blobs.ts'
import { CHECKS, runChecks } from './checks.ts'
import { checkNews } from './news.ts'

export interface CheckerOptions {
  readonly blobDir: string
  /** Analyses that callers were promised. */
  readonly asked: readonly string[]
  /** Jobs that callers were promised. */
  readonly jobs?: readonly string[]
  /** Batches that callers were promised. */
  readonly batches?: readonly string[]
  /** Message-ID of every email that arrived. */
  readonly mails: readonly string[]
}

/** Everything that the fleet must keep whatever happens to it; a sentence per violation. All must be still. */
export async function findViolations(
  db: Queryable,
  { blobDir, asked, jobs = [], batches = [], mails }: CheckerOptions,
): Promise<readonly string[]> {
  const found: string[] = []
  const schemas = await db.query<{ schema: string }>(
    String.raw`select schemaname as schema from pg_tables where tablename = 'runs' and schemaname like '%\_workflow'`,
  )
  for (const check of [...CHECKS, ...schemas.flatMap(({ schema }) => runChecks(schema))])
    for (const { violation } of await db.query<{ violation: string }>(check)) found.push(violation)
  found.push(...(await checkPromised(db, 'analysis', 'analysis.analyses', asked)))
  found.push(...(await checkPromised(db, 'batch', 'analysis.batches', batches)))
  found.push(...(await checkPromised(db, 'job', 'analysis_workflow.runs', jobs)))
  found.push(...(await checkNews(db)))
  found.push(...(await checkMails(db, mails)))
  found.push(...(await checkBlobs(db, blobDir)))
  return found
}

/** As of one moment, for all tables. */
export const inspect = (db: Postgres, options: CheckerOptions): Promise<readonly string[]> =>
  db.transaction((tx) => findViolations(tx, options), { isolation: 'repeatable read' })

async function checkPromised(
  db: Queryable,
  what: string,
  table: string,
  promised: readonly string[],
): Promise<string[]> {
  const rows = await db.query<{ id: string }>(`select id::text from ${table} where id::text = any ($1)`, [
    promised,
  ])
  const known = new Set(rows.map(({ id }) => id))
  return promised.filter((id) => !known.has(id)).map((id) => `${what} ${id} was promised and is gone`)
}

/** A mail may come again when its sender died before writing down that it went out: then it has the same Message-ID. */
async function checkMails(db: Queryable, mails: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ id: string; state: string }>(
    "select id, state from notification.deliveries where channel = 'email'",
  )
  const arrived = new Set(mails.map((messageId) => messageId.slice(1, messageId.indexOf('@'))))
  const known = new Set(rows.map(({ id }) => id))
  return [
    ...[...arrived]
      .filter((id) => !known.has(id))
      .map((id) => `an email came of delivery ${id}, which nobody ordered`),
    ...rows
      .filter(({ id, state }) => state === 'delivered' && !arrived.has(id))
      .map(({ id }) => `the email of delivery ${id} never came`),
  ]
}
