import { Job as JobMessage, type JobServiceDefinition, JobState } from '@docmesh/contracts/ops/v1/job'
import {
  type CallContext,
  checkText,
  durationOf,
  type Handlers,
  invalidRequest,
  msOf,
  type RpcError,
  readPage,
  rpcError,
} from '@docmesh/rpc'
import type { Job, JobFilter, Jobs } from '@docmesh/workflow'
import { fitting } from '../pages.ts'

const MAX_STATES = 100
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const TYPE = /^[a-z0-9:-]*$/
const POSITION = /^\d{1,18}$/
const STATES = {
  queued: JobState.QUEUED,
  scheduled: JobState.SCHEDULED,
  running: JobState.RUNNING,
  retrying: JobState.RETRYING,
  completed: JobState.COMPLETED,
  dead: JobState.DEAD,
  cancelled: JobState.CANCELLED,
} as const

const stateFrom = (state: JobState): Job['state'] | undefined =>
  (Object.keys(STATES) as Job['state'][]).find((name) => STATES[name] === state)

/** JobService: wire ↔ jobs. */
export function jobHandlers(jobs: Jobs): Handlers<typeof JobServiceDefinition> {
  async function owned(id: string, { tenantId }: CallContext): Promise<Job> {
    const job = UUID.test(id) ? await jobs.get(id) : undefined
    if (job?.tenant !== tenantId) throw notFound(id)
    return job
  }

  async function pageOf(filter: JobFilter, limit: number, after: string) {
    const page = await jobs.list(filter, { limit, ...(after && { before: after }) })
    const messages = page.jobs.map(jobMessage)
    const fits = fitting(messages, JobMessage)
    if (fits < messages.length) return pageOf(filter, fits, after)
    return { jobs: messages, nextPageToken: Buffer.from(page.next ?? '').toString('base64url') }
  }

  return {
    async enqueueJob({ type, input, priority, delay, cron, maxAttempts, requestId }, call) {
      checkText('type', type)
      checkText('cron', cron)
      const { job } = await jobs.enqueue(type, input ?? {}, {
        tenant: call.tenantId,
        requestedBy: call.userId,
        priority,
        delayMs: delay ? Math.round(msOf(delay)) : 0,
        ...(cron && { cron }),
        ...(maxAttempts !== 0 && { maxAttempts }),
        ...keyOf(requestId),
      })
      return { job: jobMessage(job) }
    },
    async getJob({ jobId }, call) {
      return { job: jobMessage(await owned(jobId, call)) }
    },
    async listJobs(request, { tenantId: tenant }) {
      const { size: limit, after } = readPage(request, (key) => POSITION.test(key))
      const { type } = request
      if (request.states.length > MAX_STATES)
        throw invalidRequest([{ field: 'states', description: `at most ${MAX_STATES}` }])
      const states = request.states.map(stateFrom).filter((state) => state !== undefined)
      // No job is in a state that this version does not have, nor of a type that cannot be.
      if ((request.states.length > 0 && states.length === 0) || !TYPE.test(type)) return { jobs: [] }
      const filter = { tenant, states, ...(type && { type }) }
      return pageOf(filter, limit, after)
    },
    async cancelJob({ jobId }, call) {
      await owned(jobId, call)
      const done = await jobs.cancel(jobId)
      if (!done) throw notFound(jobId)
      return { job: jobMessage(done.job) }
    },
    async retryJob({ jobId, requestId }, call) {
      await owned(jobId, call)
      const done = await jobs.retry(jobId, keyOf(requestId))
      if (!done) throw notFound(jobId)
      if (!done.changed) throw notDead(done.job)
      return { job: jobMessage(done.job) }
    },
    async getQueueStats() {
      const queues = await jobs.stats()
      return {
        queues: queues.map(({ queue, queued, running, completed, dead, oldestWaitMs }) => ({
          queue,
          queued: BigInt(queued),
          running: BigInt(running),
          completed: BigInt(completed),
          dead: BigInt(dead),
          oldestWait: durationOf(oldestWaitMs),
        })),
      }
    },
  }
}

function keyOf(requestId: string): { idempotencyKey?: string } {
  checkText('request_id', requestId)
  return requestId ? { idempotencyKey: requestId } : {}
}

const jobMessage = ({ input, state, tenant: tenantId, ...job }: Job) => ({
  id: job.id,
  type: job.type,
  input: isStruct(input) ? input : undefined,
  priority: job.priority,
  state: STATES[state],
  attempts: job.attempts,
  maxAttempts: job.maxAttempts,
  lastError: job.lastError,
  scheduledFor: job.scheduledFor,
  cron: job.cron,
  tenantId,
  createdAt: job.createdAt,
  endedAt: job.endedAt,
})

const isStruct = (input: unknown): input is Record<string, unknown> =>
  typeof input === 'object' && input !== null && !Array.isArray(input)

const notFound = (id: string): RpcError =>
  rpcError('JOB_NOT_FOUND', `No job has the id "${id}".`, {
    resource: { type: 'job', name: id },
  })

const notDead = ({ id, state }: Job): RpcError =>
  rpcError('JOB_NOT_DEAD', `Job "${id}" is ${state}: only a dead one can be run again.`, {
    metadata: { state },
  })
