import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { Priority, Severity } from '@docmesh/contracts/analysis/v1/analysis'
import {
  AnalysisCompleted,
  AnalysisProgressUpdated,
  AnalysisQueued,
  AnalysisStarted,
  BatchCompleted,
  ProblemDetected,
} from '@docmesh/contracts/analysis/v1/events'
import { DocumentTextExtracted } from '@docmesh/contracts/document/v1/events'
import { NotificationCreated, NotificationDelivered } from '@docmesh/contracts/notification/v1/events'
import { JobCompleted, JobQueued, JobStarted } from '@docmesh/contracts/ops/v1/events'
import { connectEvents, type Events } from '@docmesh/events'
import { openPostgres, type Postgres, type Queryable } from '@docmesh/postgres'
import { type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type CheckerOptions, findViolations, inspect } from './checker.ts'

const SCHEMAS = {
  document: 'services/document/migrations',
  analysis: 'services/analysis/migrations',
  notification: 'services/notification/migrations',
  events: 'libs/events/migrations',
  analysis_workflow: 'libs/workflow/src/migrations',
}
const DOCUMENT = '0197c000-0000-7000-8000-000000000001'
const ANALYSIS = '0197c000-0000-7000-8000-000000000002'
const NOTIFICATION = '0197c000-0000-7000-8000-000000000003'
const DELIVERY = '0197c000-0000-7000-8000-000000000004'
const BATCH = '0197c000-0000-7000-8000-000000000005'
const JOB = '0197c000-0000-7000-8000-000000000006'
const SHA256 = createHash('sha256').update('a contract').digest('hex')
const MAIL = `<${DELIVERY}@localhost>`

let database: TestDatabase
let db: Postgres
let events: Events
const blobDir = mkdtempSync(join(tmpdir(), 'docmesh-blobs-'))
const pathOf = (sha256: string): string => join(blobDir, sha256.slice(0, 2), sha256.slice(2, 4), sha256)
const STILL: CheckerOptions = { blobDir, asked: [ANALYSIS], batches: [BATCH], jobs: [JOB], mails: [MAIL] }

function store(sha256: string): void {
  mkdirSync(dirname(pathOf(sha256)), { recursive: true })
  writeFileSync(pathOf(sha256), 'a contract')
}

const about = (aggregateType: string, aggregateId: string) => ({ aggregateType, aggregateId })
const ofAnalysis = { ...about('analysis', ANALYSIS), userId: 'ana' }
const ofNotification = about('notification', NOTIFICATION)

const queued = (tx: Queryable) =>
  events.publish(
    tx,
    AnalysisQueued,
    AnalysisQueued.fromPartial({ analysisId: ANALYSIS, priority: Priority.NORMAL }),
    ofAnalysis,
  )
const started = (tx: Queryable) =>
  events.publish(tx, AnalysisStarted, AnalysisStarted.fromPartial({ analysisId: ANALYSIS }), ofAnalysis)
const began = (tx: Queryable, currentStep: string) =>
  events.publish(
    tx,
    AnalysisProgressUpdated,
    AnalysisProgressUpdated.fromPartial({ analysisId: ANALYSIS, currentStep }),
    ofAnalysis,
  )
const problem = (tx: Queryable, findingId: string) =>
  events.publish(
    tx,
    ProblemDetected,
    ProblemDetected.fromPartial({ analysisId: ANALYSIS, findingId, severity: Severity.HIGH }),
    ofAnalysis,
  )
const completed = (tx: Queryable) =>
  events.publish(
    tx,
    AnalysisCompleted,
    AnalysisCompleted.fromPartial({
      analysisId: ANALYSIS,
      requestedBy: 'ana',
      notify: true,
      counts: { high: 1 },
    }),
    ofAnalysis,
  )
const created = (tx: Queryable) =>
  events.publish(tx, NotificationCreated, { notificationId: NOTIFICATION, userId: 'ana' }, ofNotification)
const delivered = (tx: Queryable) =>
  events.publish(
    tx,
    NotificationDelivered,
    NotificationDelivered.fromPartial({ deliveryId: DELIVERY, notificationId: NOTIFICATION }),
    ofNotification,
  )

const ended = (tx: Queryable) =>
  events.publish(
    tx,
    BatchCompleted,
    BatchCompleted.fromPartial({ batchId: BATCH, total: 1, completed: 1, requestedBy: 'rui' }),
    about('batch', BATCH),
  )
const jobStarted = (tx: Queryable) =>
  events.publish(tx, JobStarted, JobStarted.fromPartial({ jobId: JOB, attempt: 1 }), about('job', JOB))
const jobCompleted = (tx: Queryable) =>
  events.publish(tx, JobCompleted, JobCompleted.fromPartial({ jobId: JOB }), about('job', JOB))

const notify = (tx: Queryable, id: string, eventId: string) =>
  tx.query(
    `insert into notification.notifications (id, tenant_id, user_id, seq, event_id, correlation_id, event_type, subject_type,
       subject_id, document_id, title, body, locale, in_feed)
     select $1, '', 'ana', count(*) + 1, $2, '', $3, 'analysis', $4, $5, 'done', '', 'en', true from notification.notifications`,
    [id, eventId, AnalysisCompleted.$type, ANALYSIS, DOCUMENT],
  )
const deliver = (tx: Queryable, id: string) =>
  tx.query(
    `insert into notification.deliveries (id, notification_id, channel, destination, state, next_attempt_at, delivered_at)
     values ($1, $2, 'email', 'ana@example.com', 'delivered', null, now())`,
    [id, NOTIFICATION],
  )
const step = (tx: Queryable, name: string) =>
  tx.query(
    `insert into analysis_workflow.steps (run_id, name, pipeline, state) values ($1, $2, 'analysis', 'completed')`,
    [ANALYSIS, name],
  )

/** A batch of that one analysis. */
async function stillBatch(tx: Queryable): Promise<void> {
  await tx.query(
    `insert into analysis.batches (id, tenant_id, requested_by, name, options, parallelism, state, total, started, completed,
       scored, score_sum, ends, created_at, closed_at, ended_at)
     values ($1, '', 'rui', 'all', '{}', 1, 'completed', 1, 1, 1, 1, 80, 1, now(), now(), now())`,
    [BATCH],
  )
  await tx.query(
    `insert into analysis.batch_documents (batch_id, position, document_id, analysis_id, state, score, end_number)
     values ($1, 1, $2, $3, 'completed', 80, 1)`,
    [BATCH, DOCUMENT, ANALYSIS],
  )
  await tx.query('update analysis.analyses set batch_id = $1', [BATCH])
  await ended(tx)
}

/** The job that would have started the analysis. */
async function stillJob(tx: Queryable): Promise<void> {
  await tx.query(
    `insert into analysis_workflow.runs (id, pipeline, version, tenant, queue, priority, app_version, state, input, ended_at,
       max_attempts)
     values ($1, 'analysis:start', '1', '', 'jobs', 'normal', '1', 'completed', 'null', now(), 5)`,
    [JOB],
  )
  await tx.query(
    `insert into analysis_workflow.steps (run_id, name, pipeline, state, output)
     values ($1, 'run', 'analysis:start', 'completed', $2)`,
    [JOB, JSON.stringify({ analysis_id: ANALYSIS })],
  )
  await events.publish(tx, JobQueued, JobQueued.fromPartial({ jobId: JOB }), about('job', JOB))
  await jobStarted(tx)
  await jobCompleted(tx)
}

/** One document, one analysis of it that completed, and one user who was told. */
async function still(tx: Queryable): Promise<void> {
  store(SHA256)
  await tx.query(
    `insert into document.documents (id, tenant_id, owner_id, name, current_version, created_at, updated_at)
     values ($1, '', 'ana', 'contract.md', 1, now(), now())`,
    [DOCUMENT],
  )
  await tx.query(
    `insert into document.versions (document_id, number, sha256, size_bytes, media_type, extraction_state, created_at)
     values ($1, 1, $2, 10, 'text/markdown', 'extracted', now())`,
    [DOCUMENT, SHA256],
  )
  await events.publish(
    tx,
    DocumentTextExtracted,
    DocumentTextExtracted.fromPartial({ documentId: DOCUMENT, version: 1 }),
    about('document', DOCUMENT),
  )
  await tx.query(
    `insert into analysis.analyses (id, tenant_id, requested_by, document_id, document_version, document_name, options,
       priority, state, steps, created_at, ended_at)
     values ($1, '', 'ana', $2, 1, 'contract.md', '{}', 1, 'completed', '[]', now(), now())`,
    [ANALYSIS, DOCUMENT],
  )
  await tx.query(
    `insert into analysis_workflow.runs (id, pipeline, version, tenant, queue, priority, app_version, state, input, ended_at)
     values ($1, 'analysis', '1', '', 'documents', 'normal', '1', 'completed', 'null', now())`,
    [ANALYSIS],
  )
  await step(tx, 'extract')
  await stillBatch(tx)
  await stillJob(tx)
  await queued(tx)
  await started(tx)
  await began(tx, 'extract')
  await began(tx, 'rules')
  await problem(tx, '1')
  const { id: eventId } = await completed(tx)
  await notify(tx, NOTIFICATION, eventId)
  await created(tx)
  await deliver(tx, DELIVERY)
  await delivered(tx)
  await tx.query(`insert into events.subscribers (subscriber, type) values ('notification', $1)`, [
    AnalysisCompleted.$type,
  ])
  await tx.query("insert into events.inbox (subscriber, event_id) values ('notification', $1)", [eventId])
  await tx.query(
    "insert into events.cursors (name, xid, position) values ('relay:DOCMESH', '999999999999', 1)",
  )
}

/** What the checker finds after these changes, which do not stay. */
async function violationsAfter(
  change: (tx: Queryable) => Promise<unknown>,
  options: Partial<CheckerOptions> = {},
): Promise<readonly string[]> {
  const undone = new Error('undone')
  let found: readonly string[] = []
  const trial = db.transaction(async (tx) => {
    await change(tx)
    found = await findViolations(tx, { ...STILL, ...options })
    throw undone
  })
  await expect(trial).rejects.toBe(undone)
  return found
}

beforeAll(async () => {
  const root = join(import.meta.dirname, '../../..')
  database = await testDatabase({
    migrations: Object.entries(SCHEMAS).map(([schema, folder]) => ({
      schema,
      migrations: join(root, folder),
    })),
  })
  db = await openPostgres({ url: database.url, schema: 'public', poolMax: 3 })
  events = await connectEvents({ db })
  await db.transaction(still)
})

afterAll(async () => {
  await events?.close()
  await db?.close()
  await database?.close()
  rmSync(blobDir, { recursive: true, force: true })
})

it('finds nothing where all is as it must be', async () => {
  expect(await inspect(db, STILL)).toEqual([])
})

type Case = readonly [finds: string, change: (tx: Queryable) => Promise<unknown>, sentence: string | RegExp]
const set = (statement: string) => (tx: Queryable) => tx.query(statement)

it.each<Case>([
  [
    'an analysis that has not ended',
    set("update analysis.analyses set state = 'running'"),
    `analysis ${ANALYSIS} is still running`,
  ],
  [
    'an analysis that is gone',
    set('delete from analysis.analyses'),
    `analysis ${ANALYSIS} was promised and is gone`,
  ],
  [
    'an analysis that ended otherwise than its events say',
    set("update analysis.analyses set state = 'failed'"),
    `analysis ${ANALYSIS} is failed and its last news is AnalysisCompleted`,
  ],
  [
    'an analysis that ended without its run',
    set("update analysis_workflow.runs set state = 'paused', ended_at = null"),
    `analysis ${ANALYSIS} is completed, its run is paused`,
  ],
  [
    'a batch that has not ended',
    set("update analysis.batches set state = 'running'"),
    `batch ${BATCH} is still running`,
  ],
  ['a batch that is gone', set('delete from analysis.batches'), `batch ${BATCH} was promised and is gone`],
  [
    'a batch that counts otherwise than its documents',
    set('update analysis.batches set completed = 2, total = 2'),
    `batch ${BATCH} counts 2/2/0/0 and 80 points, its documents make 1/1/0/0 and 80`,
  ],
  [
    'a document of a batch that ended otherwise than its analysis',
    set("update analysis.batch_documents set state = 'failed'"),
    `document ${DOCUMENT} of batch ${BATCH} is failed, its analysis is completed`,
  ],
  [
    'an analysis that its batch does not know',
    set('update analysis.batch_documents set analysis_id = null'),
    `analysis ${ANALYSIS} says that it is of batch ${BATCH}, which does not know it`,
  ],
  ['a batch that ended twice', ended, `batch ${BATCH} is completed and its end was announced 2 times`],
  [
    'a user who was not told of a batch',
    (tx) =>
      events.publish(
        tx,
        BatchCompleted,
        BatchCompleted.fromPartial({ requestedBy: 'rui', notify: true }),
        about('batch', BATCH),
      ),
    `user rui was not told of the end of batch ${BATCH}`,
  ],
  [
    'a job that is gone',
    set("delete from analysis_workflow.runs where pipeline = 'analysis:start'"),
    `job ${JOB} was promised and is gone`,
  ],
  [
    'a job that was told to have ended twice',
    jobCompleted,
    `job ${JOB} is completed and its news are JobQueued JobStarted JobCompleted JobCompleted`,
  ],
  ['an attempt of a job that began twice', jobStarted, `job ${JOB} began attempt 1 2 times`],
  [
    'a job whose analysis is not there',
    set("update analysis_workflow.steps set output = '{}' where name = 'run'"),
    `job ${JOB} started analysis , which is gone`,
  ],
  [
    'a run that nobody ended',
    set("update analysis_workflow.runs set state = 'compensating', ended_at = null"),
    `run ${ANALYSIS} of analysis is still compensating`,
  ],
  [
    'a run that waits although it is due',
    set("update analysis_workflow.runs set state = 'queued', due_at = now(), ended_at = null"),
    `run ${ANALYSIS} of analysis is still queued`,
  ],
  [
    'a dead run',
    set(`update analysis_workflow.runs set state = 'dead', failure = '{"message": "too often"}'`),
    `run ${ANALYSIS} of analysis is dead: too often`,
  ],
  [
    'a step that a completed run left out',
    set("update analysis_workflow.steps set state = 'failed'"),
    `run ${ANALYSIS} is completed, its step extract is failed`,
  ],
  [
    'a step that runs on after its run',
    set(
      "with r as (update analysis_workflow.runs set state = 'cancelled') update analysis_workflow.steps set state = 'running'",
    ),
    `run ${ANALYSIS} is cancelled, its step extract still runs`,
  ],
  [
    'a step that had its effect twice',
    async (tx) => {
      await tx.query('alter table analysis_workflow.steps drop constraint steps_pkey')
      await step(tx, 'extract')
    },
    `step extract of run ${ANALYSIS} has had its effect 2 times`,
  ],
  [
    'a gap in the versions of an aggregate',
    set(
      `insert into events.log (id, type, aggregate_type, aggregate_id, version, correlation_id, causation_id, user_id, tenant_id,
         traceparent, payload)
       values ('${randomUUID()}', 'docmesh.document.v1.DocumentUpdated', 'document', '${DOCUMENT}', 3, '', '', '', '', '', 'x')`,
    ),
    `document ${DOCUMENT}: version 3 comes after 1`,
  ],
  [
    'events of an aggregate that readers get in another order',
    set(
      `insert into events.log (id, xid, type, aggregate_type, aggregate_id, version, correlation_id, causation_id, user_id,
         tenant_id, traceparent, payload)
       values ('${randomUUID()}', '1', 'docmesh.document.v1.DocumentUpdated', 'document', '${DOCUMENT}', 2, '', '', '', '', '', 'x')`,
    ),
    `document ${DOCUMENT}: readers get version 1 after version 2`,
  ],
  [
    'an analysis that ended twice for one ask',
    completed,
    `analysis ${ANALYSIS}: AnalysisCompleted follows AnalysisCompleted`,
  ],
  [
    'an ask that was announced twice',
    async (tx) => {
      await queued(tx)
      await queued(tx)
    },
    `analysis ${ANALYSIS}: AnalysisQueued follows AnalysisQueued`,
  ],
  ['an analysis that was started twice', started, `analysis ${ANALYSIS} was started 2 times for 1 asks`],
  [
    'a step that was told of twice',
    (tx) => began(tx, 'extract'),
    `analysis ${ANALYSIS} began extract 2 times for 1 asks`,
  ],
  [
    'a problem that was told twice',
    (tx) => problem(tx, '1'),
    `analysis ${ANALYSIS} told of 2 problems and counted 1`,
  ],
  [
    'a text that was announced twice',
    (tx) =>
      events.publish(
        tx,
        DocumentTextExtracted,
        DocumentTextExtracted.fromPartial({ documentId: DOCUMENT }),
        about('document', DOCUMENT),
      ),
    `document ${DOCUMENT}: 1 texts, 2 announcements`,
  ],
  [
    'a text that nobody reads any more',
    set("update document.versions set extraction_state = 'running'"),
    `version 1 of document ${DOCUMENT} is still being read`,
  ],
  [
    'an event that was not relayed',
    set("update events.cursors set xid = '1'"),
    /^event AnalysisCompleted .{36} was not relayed$/,
  ],
  [
    'an event that a subscriber never got',
    set('delete from events.inbox'),
    /^notification never dealt with event AnalysisCompleted .{36}$/,
  ],
  [
    'an event whose next attempt is overdue',
    set(
      "insert into events.attempts (subscriber, event_id, attempts, next_at) values ('notification', 'e', 2, now() - interval '1 minute')",
    ),
    'notification has tried event e 2 times and forgot it',
  ],
  [
    'a dead letter',
    set(
      `insert into events.dead_letters (subscriber, event_id, type, envelope, reason, attempts)
       values ('notification', 'e', '${AnalysisCompleted.$type}', '', 'no such user', 5)`,
    ),
    'notification gave up event AnalysisCompleted e: no such user',
  ],
  [
    'a replay that did not end',
    set(
      `insert into events.replays (subscriber, type, from_position, to_position, before_xid, xid, position)
       values ('notification', '${AnalysisCompleted.$type}', 1, 9, '10', '0', 0)`,
    ),
    'notification has not had events 1 to 9 of AnalysisCompleted again',
  ],
  [
    'a user who was not told',
    set("update notification.notifications set event_id = 'other'"),
    `user ana was not told of the end of analysis ${ANALYSIS}`,
  ],
  [
    'a user who was told twice',
    async (tx) => {
      await tx.query(
        'alter table notification.notifications drop constraint notifications_tenant_id_user_id_event_id_key',
      )
      await tx.query("update notification.notifications set event_id = 'e'")
      await notify(tx, randomUUID(), 'e')
    },
    'user ana was told of event e 2 times',
  ],
  ['a notification that was announced twice', created, `notification ${NOTIFICATION} was announced 2 times`],
  [
    'a delivery that goes out twice',
    async (tx) => {
      await tx.query(
        'alter table notification.deliveries drop constraint deliveries_notification_id_channel_key',
      )
      await tx.query("update notification.notifications set event_id = 'e'")
      await deliver(tx, randomUUID())
    },
    'user ana gets event e 2 times by email',
  ],
  [
    'a delivery that was recorded twice',
    delivered,
    `delivery ${DELIVERY} is delivered and was announced 2 times`,
  ],
  [
    'a delivery that failed',
    set(
      "update notification.deliveries set state = 'failed', delivered_at = null, last_error = 'no mailbox'",
    ),
    `delivery ${DELIVERY} by email failed: no mailbox`,
  ],
  [
    'a delivery that somebody claimed and never ended',
    set(
      "update notification.deliveries set state = 'pending', delivered_at = null, next_attempt_at = now(), lease_id = 'w1'",
    ),
    `delivery ${DELIVERY} by email is still in the hands of w1`,
  ],
  [
    'a delivery that nobody takes',
    set(
      "update notification.deliveries set state = 'pending', delivered_at = null, next_attempt_at = now() - interval '1 minute'",
    ),
    `delivery ${DELIVERY} by email is late and in nobody's hands`,
  ],
])('finds %s', async (_finds, change, sentence) => {
  expect(await violationsAfter(change)).toContainEqual(
    typeof sentence === 'string' ? sentence : expect.stringMatching(sentence),
  )
})

it('takes the mark of a subscriber for all that was before it', async () => {
  const forgotten = async (tx: Queryable): Promise<void> => {
    await tx.query('delete from events.inbox')
    await tx.query("update events.subscribers set handled_xid = '999999999999', handled_position = 1")
  }
  expect(await violationsAfter(forgotten)).toEqual([])
})

it('lets a run wait for its time', async () => {
  const waiting = set(
    `insert into analysis_workflow.runs (id, pipeline, version, tenant, queue, priority, app_version, state, input, due_at)
     values ('tomorrow', 'report', '1', '', 'jobs', 'normal', '1', 'queued', 'null', now() + interval '1 day')`,
  )
  expect(await violationsAfter(waiting)).toEqual([])
})

it('finds an email that never came, and one that nobody ordered', async () => {
  const nothing = async (): Promise<void> => {}
  expect(await violationsAfter(nothing, { mails: [] })).toEqual([
    `the email of delivery ${DELIVERY} never came`,
  ])
  expect(await violationsAfter(nothing, { mails: [MAIL, MAIL, '<stray@localhost>'] })).toEqual([
    'an email came of delivery stray, which nobody ordered',
  ])
})

it('finds a blob that was written by half', async () => {
  writeFileSync(pathOf(SHA256), 'a con')
  try {
    expect(await inspect(db, STILL)).toEqual([
      `blob ${relative(blobDir, pathOf(SHA256))} is not what its name says`,
    ])
  } finally {
    store(SHA256)
  }
})

it('finds a blob that belongs to no document, and a version without its blob', async () => {
  const orphan = 'ab'.repeat(32)
  store(orphan)
  unlinkSync(pathOf(SHA256))
  try {
    expect(await inspect(db, STILL)).toEqual([
      `blob ab/ab/${orphan} belongs to no document`,
      `version 1 of ${DOCUMENT} has lost blob ${SHA256}`,
    ])
  } finally {
    unlinkSync(pathOf(orphan))
    store(SHA256)
  }
})
