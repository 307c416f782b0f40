import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { migrate, openPostgres } from '@docmesh/postgres'
import { testDatabase } from '@docmesh/testing'
import { expect, it } from 'vitest'

const folder = fileURLToPath(new URL('../migrations', import.meta.url))

it('lets analyses that stood in the old queue be retried, and keeps those that had ended', async () => {
  await using database = await testDatabase()
  await using db = await openPostgres({ url: database.url, schema: 'analysis', poolMax: 1 })
  const old = await mkdtemp(join(tmpdir(), 'docmesh-migrations-'))
  try {
    await cp(join(folder, '0001_analyses.sql'), join(old, '0001_analyses.sql'))
    await migrate(db, { schema: 'analysis', migrations: old })
  } finally {
    await rm(old, { recursive: true })
  }
  const steps = [
    { name: 'queue', state: 'completed' },
    { name: 'extract', state: 'running' },
  ]
  for (const [state, at] of [
    ['queued', 1],
    ['running', 2],
    ['completed', 3],
    ['cancelled', 4],
  ] as const)
    await db.query(
      `insert into analyses (id, tenant_id, requested_by, document_id, document_version, document_name, options, priority, state,
         steps, created_at, ended_at)
       values (gen_random_uuid(), 'acme', 'ana', gen_random_uuid(), 1, 'a.pdf', '{}', 1, $1, $2, now(), $3)`,
      [state, JSON.stringify(at === 2 ? steps : []), at > 2 ? new Date(0) : null],
    )
  await migrate(db, { schema: 'analysis', migrations: folder })
  const rows = await db.query(
    `select state, progress, failure->>'step' as step, failure->>'reason' as reason, (failure->>'retryable')::bool as retryable,
       ended_at > created_at as ended_now from analyses order by state, step`,
  )
  const ended = { step: null, reason: null, retryable: null, ended_now: false }
  const failed = { state: 'failed', progress: 0, reason: 'INTERRUPTED', retryable: true, ended_now: true }
  expect(rows).toEqual([
    { state: 'cancelled', progress: 0, ...ended },
    { state: 'completed', progress: 100, ...ended },
    { ...failed, step: 'extract' },
    { ...failed, step: 'queue' },
  ])
})
