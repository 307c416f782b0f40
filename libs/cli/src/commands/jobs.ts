import { randomUUID } from 'node:crypto'
import {
  GetQueueStatsResponse,
  Job,
  JobState,
  ListJobsResponse,
  type QueueStats,
} from '@docmesh/contracts/ops/v1/job'
import { durationOf } from '@docmesh/rpc'
import { Command, InvalidArgumentError, Option } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT, type ExitCode } from '../exit-codes.ts'
import { CliError } from '../failure.ts'
import { type Io, readAll } from '../io.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText, morePages, type PageOptions, withPaging } from '../paging.ts'
import { collect, duration, wholeNumber } from '../parse.ts'
import { table } from '../render/table.ts'
import { durationMs, durationText, timeText } from '../render/text.ts'

const STATES = {
  queued: JobState.QUEUED,
  scheduled: JobState.SCHEDULED,
  running: JobState.RUNNING,
  retrying: JobState.RETRYING,
  completed: JobState.COMPLETED,
  dead: JobState.DEAD,
  cancelled: JobState.CANCELLED,
} as const
const STATE_NAMES = Object.keys(STATES) as (keyof typeof STATES)[]

interface JsonOptions extends GlobalOptions {
  readonly json?: boolean
}
interface ListOptions extends PageOptions {
  readonly state?: readonly string[]
  readonly type?: string
}
interface EnqueueOptions extends JsonOptions {
  readonly input?: string
  readonly priority?: number
  readonly delay?: number
  readonly cron?: string
  readonly maxAttempts?: number
}

/** Work that runs later, again, or on a schedule. */
export function jobsCommand(cli: Cli): Command {
  const { io } = cli
  const asking = <O extends GlobalOptions>(
    work: (client: MeshSession['jobs'], options: O, word: string) => Promise<void>,
  ) =>
    ending<O>(cli, async (options, word = ''): Promise<ExitCode> => {
      await withMesh(cli, options, ({ jobs }) => work(jobs, options, word))
      return EXIT.ok
    })
  const show = (job: Job | undefined, json: boolean | undefined): void => {
    if (job) io.stdout.write(json ? jsonText(Job.toJSON(job)) : details(job))
  }
  const jobs = new Command('jobs').description('work that runs later, again, or on a schedule').addHelpText(
    'after',
    `
Examples:
  docmesh jobs enqueue analysis:start --input '{"document_id": "0199f3c2-…"}' --delay 10m
  docmesh jobs enqueue analysis:rerun --input '{"analysis_id": "0199f3c2-…"}' --cron '0 3 * * MON'
  docmesh jobs list --state dead --state retrying
  docmesh jobs retry 0199f3c2-…
  docmesh jobs stats`,
  )

  withPaging(jobs.command('list').description('list jobs, newest first'))
    .addOption(
      new Option(
        '--state <state>',
        `only jobs in this state; may be given more than once: ${STATE_NAMES.join(', ')}`,
      ).argParser(stateName),
    )
    .option('--type <type>', 'only jobs of this type')
    .action(
      asking<ListOptions>(async (client, { pageSize = 0, pageToken = '', state = [], type = '', json }) => {
        const states = state.map((name) => STATES[name as keyof typeof STATES])
        const page = await client.listJobs({ pageSize, pageToken, states, type })
        io.stdout.write(json ? jsonText(ListJobsResponse.toJSON(page)) : jobTable(page.jobs))
        morePages(io, page)
      }),
    )

  jobs
    .command('show')
    .description('show one job')
    .argument('<id>', 'id of the job')
    .option('--json', 'proto3 JSON')
    .action(
      asking<JsonOptions>(async (client, { json }, jobId) =>
        show((await client.getJob({ jobId })).job, json),
      ),
    )

  jobs
    .command('enqueue')
    .description('queue a job')
    .argument('<type>', 'type of the job; a wrong one is answered with those that there are')
    .option('--input <json>', 'what it works on, a JSON object; - reads standard input')
    .option('--priority <number>', 'higher runs first (0)', priority)
    .option('--delay <time>', 'time to wait before the first attempt', duration)
    .option(
      '--cron <fields>',
      'schedule of five fields in UTC, such as "0 3 * * MON"; CRON_TZ=… before it names a zone',
    )
    .option('--max-attempts <number>', 'times it may be started (5)', wholeNumber(1, 100))
    .option('--json', 'proto3 JSON')
    .action(
      asking<EnqueueOptions>(async (client, options, type) => {
        const { delay, cron = '', maxAttempts = 0, json } = options
        const request = {
          type,
          input: await inputOf(options.input, io),
          priority: options.priority ?? 0,
          delay: delay === undefined ? undefined : durationOf(delay),
          cron,
          maxAttempts,
          requestId: randomUUID(),
        }
        show((await client.enqueueJob(request)).job, json)
      }),
    )

  jobs
    .command('cancel')
    .description('end a job; one with a schedule ends the schedule')
    .argument('<id>', 'id of the job')
    .option('--json', 'proto3 JSON')
    .action(
      asking<JsonOptions>(async (client, { json }, jobId) =>
        show((await client.cancelJob({ jobId, requestId: randomUUID() })).job, json),
      ),
    )

  jobs
    .command('retry')
    .description('run a dead job again, with all its attempts')
    .argument('<id>', 'id of the job')
    .option('--json', 'proto3 JSON')
    .action(
      asking<JsonOptions>(async (client, { json }, jobId) =>
        show((await client.retryJob({ jobId, requestId: randomUUID() })).job, json),
      ),
    )

  jobs
    .command('stats')
    .description('how much waits, runs, was done in the last hour, and was given up, by queue')
    .option('--json', 'proto3 JSON')
    .action(
      asking<JsonOptions>(async (client, { json }) => {
        const stats = await client.getQueueStats({})
        io.stdout.write(json ? jsonText(GetQueueStatsResponse.toJSON(stats)) : statsTable(stats.queues))
      }),
    )
  return jobs
}

function stateName(text: string, earlier?: readonly string[]): string[] {
  if (!Object.hasOwn(STATES, text)) throw new InvalidArgumentError(`write one of ${STATE_NAMES.join(', ')}`)
  return collect(text, earlier)
}

function priority(text: string): number {
  if (!/^-?\d{1,7}$/.test(text)) throw new InvalidArgumentError('write a whole number, such as 10 or -10')
  return Number(text)
}

async function inputOf(given: string | undefined, io: Io): Promise<Record<string, unknown> | undefined> {
  if (given === undefined) return undefined
  const text = given === '-' ? (await readAll(io)).toString() : given
  try {
    const input: unknown = JSON.parse(text)
    if (typeof input === 'object' && input !== null && !Array.isArray(input))
      return input as Record<string, unknown>
  } catch {
    // Told below: whatever it is, it is no JSON object.
  }
  throw new CliError(
    EXIT.usage,
    'the input is not a JSON object',
    `write for example --input '{"document_id": "…"}'`,
  )
}

const stateText = (state: JobState): string => STATE_NAMES.find((name) => STATES[name] === state) ?? '-'

function jobTable(jobs: readonly Job[]): string {
  const rows = jobs.map(({ id, type, state, priority, attempts, maxAttempts, scheduledFor, cron }) => [
    id,
    type,
    stateText(state),
    String(priority),
    `${attempts}/${maxAttempts}`,
    timeText(scheduledFor),
    cron || '-',
  ])
  return table(['ID', 'TYPE', 'STATE', 'PRIORITY', 'ATTEMPTS', 'RUNS AT (UTC)', 'SCHEDULE'], rows)
}

function details(job: Job): string {
  const rows = [
    ['type', job.type],
    ['state', stateText(job.state)],
    ['input', JSON.stringify(job.input ?? {})],
    ['priority', String(job.priority)],
    ['attempts', `${job.attempts} of ${job.maxAttempts}`],
    ['last error', job.lastError || '-'],
    ['schedule', job.cron || '-'],
    ['runs at', timeText(job.scheduledFor)],
    ['created', timeText(job.createdAt)],
    ['ended', timeText(job.endedAt)],
  ]
  return table(['id', job.id], rows)
}

function statsTable(queues: readonly QueueStats[]): string {
  const rows = queues.map(({ queue, queued, running, completed, dead, oldestWait }) => [
    queue,
    ...[queued, running, completed, dead].map(String),
    durationText(durationMs(oldestWait) ?? 0),
  ])
  return table(['QUEUE', 'QUEUED', 'RUNNING', 'DONE IN 1 H', 'DEAD', 'OLDEST WAITS'], rows)
}
