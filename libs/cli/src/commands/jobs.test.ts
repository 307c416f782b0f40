import { type EnqueueJobRequest, Job, JobState, type ListJobsRequest } from '@docmesh/contracts/ops/v1/job'
import { invalidRequest, rpcError } from '@docmesh/rpc'
import { describe, expect, it } from 'vitest'
import { docmesh, ioInterruptedAtInput, type TestServices, testIo } from '../testing.fixture.ts'

const at = new Date('2026-11-21T04:05:06Z')
const job = Job.fromPartial({
  id: 'j-1',
  type: 'analysis:start',
  input: { document_id: 'd-1' },
  priority: 7,
  state: JobState.RETRYING,
  attempts: 2,
  maxAttempts: 5,
  lastError: 'The document service is away.',
  scheduledFor: at,
  cron: '0 3 * * MON',
  createdAt: at,
})

const jobsWith = (jobs: TestServices['jobs']): { services: TestServices } => ({
  services: { jobs: jobs ?? {} },
})

describe('docmesh jobs list', () => {
  it('shows the jobs that were asked for, and how to get the next page', async () => {
    const asked: ListJobsRequest[] = []
    const args = ['--state', 'dead', '--state', 'retrying', '--type', 'analysis:start', '--page-size', '1']
    const { exitCode, out, err } = await docmesh(
      ['jobs', 'list', ...args],
      jobsWith({
        async listJobs(request) {
          asked.push(request)
          return { jobs: [job], nextPageToken: 'more' }
        },
      }),
    )
    expect(exitCode).toBe(0)
    expect(out.split('\n')[1]?.split(/\s{2,}/)).toEqual([
      'j-1',
      'analysis:start',
      'retrying',
      '7',
      '2/5',
      '2026-11-21 04:05:06',
      '0 3 * * MON',
    ])
    expect(err).toBe('more: --page-token more\n')
    expect(asked).toEqual([
      { pageSize: 1, pageToken: '', type: 'analysis:start', states: [JobState.DEAD, JobState.RETRYING] },
    ])
  })

  it('ends with 2 for a state that only JavaScript knows', async () => {
    const { exitCode, err } = await docmesh(['jobs', 'list', '--state', 'constructor'], jobsWith({}))
    expect({ exitCode, err }).toEqual({ exitCode: 2, err: expect.stringContaining('write one of queued') })
  })

  it('ends with 2 for a state that does not exist, and names those that do', async () => {
    const { exitCode, err } = await docmesh(['jobs', 'list', '--state', 'lost'])
    expect({ exitCode, err }).toEqual({
      exitCode: 2,
      err: expect.stringContaining('write one of queued, scheduled'),
    })
  })
})

describe('docmesh jobs show', () => {
  it('shows what a job works on and what its last attempt met', async () => {
    const { out } = await docmesh(['jobs', 'show', 'j-1'], jobsWith({ getJob: async () => ({ job }) }))
    expect(out).toContain('input       {"document_id":"d-1"}\n')
    expect(out).toContain('attempts    2 of 5\n')
    expect(out).toContain('last error  The document service is away.\n')
  })

  it('writes proto3 JSON', async () => {
    const { out } = await docmesh(
      ['jobs', 'show', 'j-1', '--json'],
      jobsWith({ getJob: async () => ({ job }) }),
    )
    expect(Job.fromJSON(JSON.parse(out))).toEqual(job)
  })

  it('ends with 2 for a job that does not exist', async () => {
    const { exitCode, err } = await docmesh(
      ['jobs', 'show', 'x'],
      jobsWith({ getJob: () => Promise.reject(rpcError('JOB_NOT_FOUND', 'No job has the id "x".')) }),
    )
    expect({ exitCode, err }).toEqual({ exitCode: 2, err: expect.stringContaining('No job has the id "x"') })
  })
})

describe('docmesh jobs enqueue', () => {
  const queue = (asked: EnqueueJobRequest[]) =>
    jobsWith({
      async enqueueJob(request) {
        asked.push(request)
        return { job: { ...job, state: JobState.QUEUED, lastError: '', cron: '' } }
      },
    })

  it('queues a job with all that was asked for', async () => {
    const asked: EnqueueJobRequest[] = []
    const input = ['--input', '{"document_id": "d-1", "notify": true}']
    const options = ['--priority', '-5', '--delay', '90s', '--cron', '0 3 * * MON', '--max-attempts', '2']
    const { exitCode, out } = await docmesh(
      ['jobs', 'enqueue', 'analysis:start', ...input, ...options],
      queue(asked),
    )
    expect(exitCode).toBe(0)
    expect(out).toContain('state       queued\n')
    expect(asked).toEqual([
      {
        type: 'analysis:start',
        input: { document_id: 'd-1', notify: true },
        priority: -5,
        delay: { seconds: 90n, nanos: 0 },
        cron: '0 3 * * MON',
        maxAttempts: 2,
        requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      },
    ])
  })

  it('reads the input from standard input', async () => {
    const asked: EnqueueJobRequest[] = []
    const io = testIo({ stdin: '{"document_id": "d-2"}' })
    await docmesh(['jobs', 'enqueue', 'analysis:start', '--input', '-'], { ...queue(asked), io })
    expect(asked[0]?.input).toEqual({ document_id: 'd-2' })
  })

  it('ends with 130 at Ctrl-C while it waits for standard input', async () => {
    const asked: EnqueueJobRequest[] = []
    const io = ioInterruptedAtInput()
    const { exitCode } = await docmesh(['jobs', 'enqueue', 'analysis:start', '--input', '-'], {
      ...queue(asked),
      io,
    })
    expect({ exitCode, asked }).toEqual({ exitCode: 130, asked: [] })
  })

  it.each(['[1]', 'seven', '"text"'])('refuses %s as input', async (input) => {
    const asked: EnqueueJobRequest[] = []
    const { exitCode, err } = await docmesh(
      ['jobs', 'enqueue', 'analysis:start', '--input', input],
      queue(asked),
    )
    expect({ exitCode, err, asked }).toEqual({
      exitCode: 2,
      err: expect.stringContaining('the input is not a JSON object'),
      asked: [],
    })
  })

  it('names each field that the service refuses', async () => {
    const { exitCode, err } = await docmesh(
      ['jobs', 'enqueue', 'coffee:make'],
      jobsWith({
        enqueueJob: () =>
          Promise.reject(invalidRequest([{ field: 'type', description: 'write one of analysis:start' }])),
      }),
    )
    expect({ exitCode, err }).toEqual({
      exitCode: 2,
      err: expect.stringContaining('type: write one of analysis:start'),
    })
  })
})

describe('docmesh jobs cancel, retry and stats', () => {
  it('cancels and retries under an identifier of the request', async () => {
    const asked: string[] = []
    const services = jobsWith({
      async cancelJob({ jobId, requestId }) {
        asked.push(`cancel ${jobId} ${requestId.length}`)
        return { job: { ...job, state: JobState.CANCELLED } }
      },
      async retryJob({ jobId, requestId }) {
        asked.push(`retry ${jobId} ${requestId.length}`)
        return { job: { ...job, state: JobState.QUEUED } }
      },
    })
    expect((await docmesh(['jobs', 'cancel', 'j-1'], services)).out).toContain('state       cancelled\n')
    expect((await docmesh(['jobs', 'retry', 'j-1'], services)).out).toContain('state       queued\n')
    expect(asked).toEqual(['cancel j-1 36', 'retry j-1 36'])
  })

  it('ends with 5 for a job that is not dead', async () => {
    const refused = () => Promise.reject(rpcError('JOB_NOT_DEAD', 'Job "j-1" is running.'))
    const { exitCode, err } = await docmesh(['jobs', 'retry', 'j-1'], jobsWith({ retryJob: refused }))
    expect({ exitCode, err }).toEqual({ exitCode: 5, err: expect.stringContaining('Job "j-1" is running') })
  })

  it('shows the queues', async () => {
    const queue = { queue: 'jobs', queued: 12n, running: 8n, completed: 340n, dead: 1n }
    const { out } = await docmesh(
      ['jobs', 'stats'],
      jobsWith({
        getQueueStats: async () => ({ queues: [{ ...queue, oldestWait: { seconds: 75n, nanos: 0 } }] }),
      }),
    )
    expect(out.split('\n')[1]?.split(/\s{2,}/)).toEqual(['jobs', '12', '8', '340', '1', '1 min 15 s'])
  })
})
