import {
  SystemHealthChecked,
  SystemRecoveryCompleted,
  SystemRecoveryStarted,
} from '@docmesh/contracts/ops/v1/events'
import { Command, Option } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import { createRecoveryLog, type LoggedRecovery } from '../healing/log.ts'
import { jsonText } from '../paging.ts'
import { wholeNumber } from '../parse.ts'
import { table } from '../render/table.ts'
import { durationText, timeText } from '../render/text.ts'

interface RecoveriesOptions extends GlobalOptions {
  readonly limit: number
  readonly json?: boolean
}

const TYPES = [SystemHealthChecked.$type, SystemRecoveryStarted.$type, SystemRecoveryCompleted.$type]

export const recoveriesCommand = (cli: Cli): Command =>
  new Command('recoveries')
    .description('what docmesh did to mend itself, newest first')
    .addOption(new Option('--limit <number>', 'most recoveries').argParser(wholeNumber(1, 1_000)).default(20))
    .option('--json', 'a list of objects')
    .addHelpText(
      'after',
      `
Examples:
  docmesh recoveries
  docmesh recoveries --limit 5
  docmesh recoveries --json | jq '.[] | select(.outcome == "escalated")'`,
    )
    .action(
      ending<RecoveriesOptions>(cli, async (options) => {
        const log = createRecoveryLog(options.limit)
        await withMesh(cli, options, async ({ events }) => {
          for await (const entry of events.tailEvents({ types: TYPES, fromPosition: 1n, follow: false }))
            log.add(entry)
        })
        const recoveries = log.newestFirst()
        cli.io.stdout.write(options.json ? jsonText(recoveries) : textOf(recoveries))
        return EXIT.ok
      }),
    )

function textOf(recoveries: readonly LoggedRecovery[]): string {
  if (recoveries.length === 0) return 'nothing has been mended yet\n'
  const rows = recoveries.map(({ startedAt, check, why, actions, outcome, tookMs, detail }) => [
    timeText(new Date(startedAt)),
    check || '-',
    actions.join(', ') || '-',
    outcome,
    tookMs === undefined ? '-' : durationText(tookMs),
    why ? `${why}: ${detail}` : detail,
  ])
  return table(['STARTED', 'CHECK', 'ACTIONS', 'OUTCOME', 'TOOK', 'WHAT'], rows)
}
