import { TailEventsResponse } from '@docmesh/contracts/ops/v1/event'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import type { MeshSession } from '../mesh-session.ts'
import { collect } from '../parse.ts'
import { styleFor } from '../render/style.ts'
import { deadLettersCommand, position, redriveCommand, replayCommand } from './events-repair.ts'
import { eventLine } from './events-text.ts'

interface TailOptions extends GlobalOptions {
  readonly type?: readonly string[]
  readonly aggregate?: string
  readonly from?: number
  readonly follow?: boolean
  readonly json?: boolean
}

/** Seeing events, and repairing their delivery. */
export function eventsCommand(cli: Cli): Command {
  const events = new Command('events')
    .description('see events, deliver them again, mend what failed')
    .addHelpText(
      'after',
      `
Examples:
  docmesh events tail
  docmesh events tail --from 1 --type AnalysisCompleted --type ProblemDetected
  docmesh events tail --from 1 --aggregate 0199f3c2-… --follow --json
  docmesh events replay notification --from 120 --to 180 --type AnalysisCompleted --yes
  docmesh events dead-letters --subscriber notification
  docmesh events redrive 17 18
  docmesh events redrive --subscriber notification`,
    )

  events
    .command('tail')
    .description('events as they are committed, a line each, personal data masked; Ctrl-C ends it')
    .option('--type <name>', 'only this type, in full or short; may be given more than once', collect)
    .option('--aggregate <id>', 'only what happened to this, such as a document')
    .option('--from <position>', 'begin there and end at the newest; new ones alone when not given', position)
    .option('--follow', 'with --from: go on with new events')
    .option('--json', 'proto3 JSON, a line for each event')
    .action(
      ending<TailOptions>(cli, async (options) => {
        await withMesh(cli, options, (session) => tail(session, options, cli))
        return EXIT.ok
      }),
    )
  return events
    .addCommand(replayCommand(cli))
    .addCommand(deadLettersCommand(cli))
    .addCommand(redriveCommand(cli))
}

async function tail({ events }: MeshSession, options: TailOptions, { io }: Cli): Promise<void> {
  const { type = [], aggregate = '', from = 0, follow = from === 0, json, color } = options
  const style = styleFor(io.stdout.isTTY ?? false, { env: io.env, color })
  const request = { types: [...type], aggregateId: aggregate, fromPosition: BigInt(from), follow }
  try {
    for await (const event of events.tailEvents(request))
      io.stdout.write(
        json ? `${JSON.stringify(TailEventsResponse.toJSON(event))}\n` : eventLine(event, style),
      )
  } catch (error) {
    if (!io.signal.aborted) throw error // to be ended is how it ends
  }
}
