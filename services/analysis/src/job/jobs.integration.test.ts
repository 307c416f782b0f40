import { randomUUID } from 'node:crypto'
import { JobServiceDefinition, JobState } from '@docmesh/contracts/ops/v1/job'
import { connectEvents, type Events } from '@docmesh/events'
import { openPostgres } from '@docmesh/postgres'
import {
  type Client,
  Code,
  createClient,
  currentCall,
  grpcJsClient,
  grpcJsServer,
  implement,
  RpcError,
  routesOf,
  rpcError,
  sendOver,
} from '@docmesh/rpc'
import { silentLogger } from '@docmesh/telemetry'
import { eventually, testDatabase } from '@docmesh/testing'
import { createWorkflows } from '@docmesh/workflow'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Caller, Options } from '../analysis.ts'
import { publishJobs } from './events.ts'
import { jobHandlers } from './handlers.ts'
import { type AnalysisStarter, analysisJobTypes } from './types.ts'

type JobClient = Client<typeof JobServiceDefinition>

interface Started {
  readonly documentId: string
  readonly options?: Options
  readonly rulePacks?: readonly string[]
  readonly caller: Caller
  /** As who calls to other services are made. */
  readonly as: string | undefined
}

const LOST = randomUUID()
const stack = new AsyncDisposableStack()
/** Analyses that were started, by request id: the same one gives the first again. */
const started = new Map<string, Started>()
let events: Events
let acme: JobClient
let other: JobClient

const analyses: AnalysisStarter = {
  async start(documentId, _, options, requestId, caller) {
    if (documentId === LOST) throw rpcError('DOCUMENT_NOT_FOUND', `No document has the id "${LOST}".`)
    started.set(requestId, { documentId, options, caller, as: currentCall()?.tenantId })
    return { id: requestId }
  },
  async rerun(id, rulePacks, requestId, caller) {
    started.set(requestId, { documentId: id, rulePacks, caller, as: currentCall()?.tenantId })
    return { id: requestId }
  },
}

beforeAll(async () => {
  const database = stack.use(await testDatabase())
  const db = stack.use(await openPostgres({ url: database.url, schema: 'analysis', poolMax: 6 }))
  await db.query('create schema analysis')
  events = stack.use(await connectEvents({ db, pollMs: 100 }))
  const workflows = await createWorkflows({
    db,
    pipelines: [],
    jobs: analysisJobTypes(Promise.resolve(analyses)),
    onJob: publishJobs(events.publish),
    applicationVersion: '1',
    logger: silentLogger,
    ids: randomUUID,
  })
  stack.defer(() => workflows.stop())
  const routes = routesOf(implement(JobServiceDefinition, jobHandlers(workflows.jobs)), [])
  const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
  stack.defer(() => listener.close(0))
  const clientOf = (tenantId: string): JobClient => {
    const connection = grpcJsClient.connect(listener.address)
    stack.defer(() => connection.close())
    const identity = { 'docmesh-user-id': 'ana', 'docmesh-tenant-id': tenantId }
    return createClient(JobServiceDefinition, sendOver(connection), [
      (next) => (call) => next({ ...call, metadata: { ...call.metadata, ...identity } }),
    ])
  }
  acme = clientOf('acme')
  other = clientOf('other')
})
afterAll(() => stack.disposeAsync())

async function failure(work: Promise<unknown>): Promise<RpcError> {
  const error = await work.catch((reason: unknown) => reason)
  if (!(error instanceof RpcError)) throw new Error(`expected an RpcError, got ${String(error)}`)
  return error
}

const inState = (jobId: string, state: JobState) =>
  eventually(async () => {
    const { job } = await acme.getJob({ jobId })
    expect(job?.state).toBe(state)
    return job
  })

test('analysis:start starts one analysis for whoever queued it, and says what happened', async () => {
  const documentId = randomUUID()
  const request = {
    type: 'analysis:start',
    input: { document_id: documentId, rule_packs: ['core.contract'], locale: 'pt', notify: true },
    priority: 5,
    requestId: 'once',
  }
  const { job } = await acme.enqueueJob(request)
  expect(job).toMatchObject({ type: 'analysis:start', priority: 5, maxAttempts: 5, tenantId: 'acme' })
  expect((await acme.enqueueJob(request)).job?.id).toBe(job?.id)
  const done = await inState(job?.id ?? '', JobState.COMPLETED)
  expect(done).toMatchObject({ attempts: 1, lastError: '', input: request.input })
  const mine = [...started.values()].filter((each) => each.documentId === documentId)
  expect(mine).toMatchObject([
    {
      options: { rulePacks: ['core.contract'], locale: 'pt-BR', notify: true },
      caller: { userId: 'ana', tenantId: 'acme' },
      as: 'acme',
    },
  ])
  const history = await events.history('job', job?.id ?? '')
  expect(
    history.map(({ type, tenantId, userId }) => `${type.split('.').at(-1)} ${tenantId} ${userId}`),
  ).toEqual(['JobQueued acme ana', 'JobStarted acme ana', 'JobCompleted acme ana'])
})

test('analysis:rerun asks for a new analysis of an old one', async () => {
  const analysisId = randomUUID()
  const { job } = await acme.enqueueJob({ type: 'analysis:rerun', input: { analysis_id: analysisId } })
  await inState(job?.id ?? '', JobState.COMPLETED)
  expect([...started.values()].find((each) => each.documentId === analysisId)).toMatchObject({
    rulePacks: [],
  })
})

test('refuses an unknown type with a list of those it knows, and names each wrong field of the input', async () => {
  const unknown = await failure(acme.enqueueJob({ type: 'coffee:make' }))
  expect(unknown.code).toBe(Code.INVALID_ARGUMENT)
  expect(unknown.options.fields).toEqual([
    {
      field: 'type',
      description: '"coffee:make" is not known; write one of analysis:rerun, analysis:start',
    },
  ])
  const input = { document_id: 'x', notify: 'yes', colour: 'red' }
  const wrong = await failure(acme.enqueueJob({ type: 'analysis:start', input }))
  expect(wrong.options.fields?.map(({ field }) => field)).toEqual([
    'input.document_id',
    'input.notify',
    'input',
  ])
  const ranges = { type: 'analysis:start', input: { document_id: LOST } }
  expect((await failure(acme.enqueueJob({ ...ranges, maxAttempts: -1 }))).message).toContain('max_attempts: ')
  expect((await failure(acme.enqueueJob({ ...ranges, cron: 'daily' }))).message).toContain('cron: ')
  const delay = { seconds: -1n, nanos: 0 }
  expect((await failure(acme.enqueueJob({ ...ranges, delay }))).message).toContain('delay: ')
  expect((await failure(acme.enqueueJob({ ...ranges, requestId: '\0' }))).message).toContain('request_id: ')
})

test('a dead job says why and runs again on request, once for each request', async () => {
  const { job } = await acme.enqueueJob({ type: 'analysis:start', input: { document_id: LOST } })
  const jobId = job?.id ?? ''
  const dead = await inState(jobId, JobState.DEAD)
  expect(dead).toMatchObject({ attempts: 1, lastError: `No document has the id "${LOST}".` })
  expect((await acme.retryJob({ jobId, requestId: 'again' })).job?.state).not.toBe(JobState.DEAD)
  await inState(jobId, JobState.DEAD)
  await acme.retryJob({ jobId, requestId: 'third' })
  await inState(jobId, JobState.DEAD)
  expect((await acme.retryJob({ jobId, requestId: 'third' })).job?.state).toBe(JobState.DEAD)
  const types = (await events.history('job', jobId)).map(({ type }) => type.split('.').at(-1))
  expect(types).toEqual(Array(3).fill(['JobQueued', 'JobStarted', 'JobFailed']).flat())
  const { queues } = await acme.getQueueStats({})
  expect(queues).toMatchObject([{ queue: 'jobs', queued: 0n, running: 0n, dead: 1n }])
})

test('a job that is not dead cannot be run again', async () => {
  const { job } = await acme.enqueueJob({ type: 'analysis:start', input: { document_id: randomUUID() } })
  await inState(job?.id ?? '', JobState.COMPLETED)
  const error = await failure(acme.retryJob({ jobId: job?.id ?? '' }))
  expect(error).toMatchObject({ code: Code.FAILED_PRECONDITION, reason: 'JOB_NOT_DEAD' })
})

test('a schedule waits for its time until it is cancelled', async () => {
  const input = { document_id: randomUUID() }
  const cron = 'CRON_TZ=America/Sao_Paulo 0 3 * * *'
  const { job } = await acme.enqueueJob({ type: 'analysis:start', input, cron })
  expect(job).toMatchObject({ state: JobState.SCHEDULED, cron })
  expect(job?.scheduledFor?.toISOString()).toMatch(/T06:00:00\.000Z$/)
  const jobId = job?.id ?? ''
  expect((await acme.cancelJob({ jobId })).job?.state).toBe(JobState.CANCELLED)
  expect((await acme.cancelJob({ jobId })).job?.state).toBe(JobState.CANCELLED)
})

test('jobs of another tenant are not there', async () => {
  const { job } = await acme.enqueueJob({
    type: 'analysis:start',
    input: { document_id: randomUUID() },
    delay: { seconds: 60n, nanos: 0 },
  })
  const jobId = job?.id ?? ''
  for (const id of [jobId, randomUUID(), 'nonsense\0'])
    for (const call of [other.getJob, other.cancelJob, other.retryJob])
      expect(await failure(call({ jobId: id }))).toMatchObject({
        code: Code.NOT_FOUND,
        reason: 'JOB_NOT_FOUND',
      })
  expect((await other.listJobs({})).jobs).toEqual([])
  expect((await acme.getJob({ jobId })).job?.state).toBe(JobState.SCHEDULED)
})

test('lists jobs newest first, page by page, by type and state', async () => {
  const ids: string[] = []
  for (let index = 0; index < 5; index++) {
    const input = { analysis_id: randomUUID() }
    const delay = { seconds: 3_600n, nanos: 0 }
    ids.unshift((await other.enqueueJob({ type: 'analysis:rerun', input, delay })).job?.id ?? '')
  }
  const found: string[] = []
  let pageToken = ''
  do {
    const page = await other.listJobs({
      pageSize: 2,
      pageToken,
      type: 'analysis:rerun',
      states: [JobState.SCHEDULED],
    })
    expect(page.jobs.length).toBeLessThanOrEqual(2)
    found.push(...page.jobs.map(({ id }) => id))
    pageToken = page.nextPageToken
  } while (pageToken !== '')
  expect(found).toEqual(ids)
  expect((await other.listJobs({ states: [JobState.DEAD] })).jobs).toEqual([])
  expect((await other.listJobs({ type: 'no\0such' })).jobs).toEqual([])
  expect(await failure(other.listJobs({ pageToken: 'x' }))).toMatchObject({ reason: 'INVALID_PAGE_TOKEN' })
})
