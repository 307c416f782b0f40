import { randomUUID } from 'node:crypto'
import {
  ListDeadLettersResponse,
  RedriveDeadLettersResponse,
  ReplayEventsResponse,
} from '@docmesh/contracts/ops/v1/event'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import { CliError } from '../failure.ts'
import { type Io, unlessAborted } from '../io.ts'
import { jsonText, morePages, type PageOptions, withPaging } from '../paging.ts'
import { collect, wholeNumber } from '../parse.ts'
import { deadLetterTable } from './events-text.ts'

interface ReplayOptions extends GlobalOptions {
  readonly from: number
  readonly to?: number
  readonly type?: readonly string[]
  readonly yes?: boolean
  readonly json?: boolean
}

interface DeadLettersOptions extends PageOptions {
  readonly subscriber?: string
}

interface RedriveOptions extends GlobalOptions {
  readonly subscriber?: string
  readonly json?: boolean
}

export const position = wholeNumber(1, Number.MAX_SAFE_INTEGER)

export function replayCommand(cli: Cli): Command {
  const { io } = cli
  return new Command('replay')
    .description('deliver stored events to one subscriber again, although it has dealt with them')
    .argument('<subscriber>', 'its name, such as notification')
    .requiredOption('--from <position>', 'the first event, as `events tail` numbers them', position)
    .option('--to <position>', 'the last event; the newest when not given', position)
    .option('--type <name>', 'only this type, in full or short; may be given more than once', collect)
    .option('--yes', 'do not ask')
    .option('--json', 'proto3 JSON')
    .action(
      ending<ReplayOptions>(cli, async ({ from, to, type = [], yes, json, ...options }, subscriber = '') => {
        const which = to === undefined ? `from ${from} on` : `from ${from} to ${to}`
        if (!yes && !(await confirmed(io, `Deliver the events ${which} to ${subscriber} again?`)))
          throw new CliError(EXIT.usage, 'nothing was delivered', 'say --yes, or answer y')
        const answer = await withMesh(cli, options, ({ events }) =>
          events.replayEvents({
            subscriber,
            fromPosition: BigInt(from),
            toPosition: BigInt(to ?? 0),
            types: [...type],
            requestId: randomUUID(),
          }),
        )
        io.stdout.write(
          json
            ? jsonText(ReplayEventsResponse.toJSON(answer))
            : `${counted(answer.events, 'event')} on the way to ${subscriber} again\n`,
        )
        return EXIT.ok
      }),
    )
}

export function deadLettersCommand(cli: Cli): Command {
  const { io } = cli
  return withPaging(
    new Command('dead-letters').description('events that subscribers could not handle, newest first'),
  )
    .option('--subscriber <name>', 'only those of this subscriber')
    .action(
      ending<DeadLettersOptions>(cli, async (given) => {
        const { subscriber = '', pageSize = 0, pageToken = '', json, ...options } = given
        const page = await withMesh(cli, options, ({ events }) =>
          events.listDeadLetters({ subscriber, pageSize, pageToken }),
        )
        io.stdout.write(
          json ? jsonText(ListDeadLettersResponse.toJSON(page)) : deadLetterTable(page.deadLetters),
        )
        morePages(io, page)
        return EXIT.ok
      }),
    )
}

export function redriveCommand(cli: Cli): Command {
  const { io } = cli
  return new Command('redrive')
    .description('let subscribers try dead letters once more')
    .argument('[ids...]', 'ids as `events dead-letters` shows them')
    .option('--subscriber <name>', 'all of this subscriber instead of ids')
    .option('--json', 'proto3 JSON')
    .action(
      ending<RedriveOptions>(cli, async ({ subscriber = '', json, ...options }, ...ids) => {
        if (ids.length > 0 === (subscriber !== ''))
          throw new CliError(
            EXIT.usage,
            'it takes either ids or --subscriber',
            '`docmesh events dead-letters` shows both',
          )
        const answer = await withMesh(cli, options, ({ events }) =>
          events.redriveDeadLetters({ deadLetterIds: ids, subscriber, requestId: randomUUID() }),
        )
        io.stdout.write(
          json
            ? jsonText(RedriveDeadLettersResponse.toJSON(answer))
            : `${counted(answer.redriven, 'dead letter')} on the way again\n`,
        )
        return EXIT.ok
      }),
    )
}

const counted = (count: number | bigint, noun: string): string => {
  const one = Number(count) === 1
  return `${count} ${noun}${one ? ' is' : 's are'}`
}

/** Asks on a terminal; without one nobody can answer, so nobody agrees. */
async function confirmed({ stderr, stdin, signal }: Io, question: string): Promise<boolean> {
  if (!stderr.isTTY) return false
  stderr.write(`${question} [y/N] `)
  const answer = await unlessAborted(firstOf(stdin), signal)
  return /^y(es)?$/i.test(
    Buffer.from(answer ?? '')
      .toString()
      .trim(),
  )
}

async function firstOf<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item
  return undefined
}
