import { resolve } from 'node:path'
import { Priority } from '@docmesh/contracts/analysis/v1/analysis'
import { Argument, Command, Option } from 'commander'
import { findDocuments, refusedText } from '../batch/files.ts'
import { runBatchJob } from '../batch/job.ts'
import { type BatchJournal, journalFolder, openBatchJournal } from '../batch/journal.ts'
import { createBatchProgress } from '../batch/progress.ts'
import { summaryExitCode, summaryJson, summaryText } from '../batch/summary.ts'
import { type Cli, ending, type GlobalOptions, registryTargets, withMesh } from '../cli.ts'
import { EXIT, type ExitCode, worstOf } from '../exit-codes.ts'
import { CliError, failureOf } from '../failure.ts'
import { jsonText } from '../paging.ts'
import { collect, wholeNumber } from '../parse.ts'
import { LOCALES, type Locale } from '../render/labels.ts'

const PRIORITIES = { low: Priority.LOW, normal: Priority.NORMAL, high: Priority.HIGH } as const

interface BatchOptions extends GlobalOptions {
  readonly rules?: readonly string[]
  readonly locale: Locale
  readonly parallelism?: number
  readonly name?: string
  readonly priority: keyof typeof PRIORITIES
  readonly failUnder?: number
  readonly notify?: boolean
  readonly json?: boolean
}

export const batchCommand = (cli: Cli): Command =>
  new Command('batch')
    .description('check many documents as one job, and sum up')
    .addArgument(new Argument('<paths...>', 'files, and folders with PDF, DOCX, HTML, Markdown or text'))
    .option('--rules <pack>', 'rule pack, id or id@version; may be given more than once', collect)
    .addOption(new Option('--locale <locale>', 'language of the messages').choices(LOCALES).default('en'))
    .option('--parallelism <number>', 'analyses that run at once (8)', wholeNumber(1, 100))
    .option('--name <text>', 'name of the batch, for people')
    .addOption(
      new Option('--priority <priority>', 'place in the queue')
        .choices(Object.keys(PRIORITIES))
        .default('normal'),
    )
    .option(
      '--fail-under <score>',
      'exit with 1 when a document is below this score or its verdict is fail',
      wholeNumber(0, 100),
    )
    .option('--notify', 'tell me when the batch has ended')
    .option('--json', 'the summary as JSON, with every document')
    .addHelpText(
      'after',
      `
Files that cannot be read are told of and left out. The exit code is the highest of all files.

Ctrl-C leaves the batch running. The same command comes back to it, with nothing uploaded or analysed twice;
\`docmesh batches\` shows and cancels batches.

Examples:
  docmesh batch contracts/
  docmesh batch contracts/ annexes/*.pdf --rules core.contract --name "May 2026" --notify
  docmesh batch archive/ --parallelism 32 --priority low --json > summary.json
  docmesh batch contracts/ --fail-under 70`,
    )
    .action(ending<BatchOptions>(cli, (options, ...paths) => runBatch(paths, options, cli)))

async function runBatch(paths: readonly string[], options: BatchOptions, cli: Cli): Promise<ExitCode> {
  const { io } = cli
  const found = await findDocuments(paths)
  for (const refused of found.refused) io.stderr.write(refusedText(refused))
  if (found.files.length === 0) {
    if (found.refused.length > 0) return worstOf(found.refused.map(({ exitCode }) => exitCode))
    throw new CliError(EXIT.usage, 'there is no document', 'name files, or folders that have some')
  }
  return withMesh(cli, options, async (session) => {
    const journal = openBatchJournal(journalFolder(io.env), identityOf(paths, options, cli))
    const progress = createBatchProgress(io.stderr, options.name ?? '', () => performance.now())
    const { name = '', parallelism = 0, failUnder, json, locale } = options
    const wanted = { name, parallelism, options: batchOptions(options) }
    try {
      const summary = await runBatchJob(found, wanted, { session, journal, progress, signal: io.signal })
      progress.end()
      if (summary) io.stdout.write(json ? jsonText(summaryJson(summary)) : summaryText(summary, locale))
      journal.remove()
      return summary
        ? summaryExitCode(summary, failUnder)
        : worstOf([...found.refused, ...journal.refused()].map(({ exitCode }) => exitCode))
    } catch (error) {
      progress.end()
      if (failureOf(error, io.signal.aborted).exitCode === EXIT.usage) journal.remove()
      else io.stderr.write(comeBack(journal, found.files.length))
      throw error
    }
  })
}

/** Commands that differ in these are not the same. */
const identityOf = (paths: readonly string[], options: BatchOptions, cli: Cli) => ({
  registry: registryTargets(cli, options),
  user: options.user ?? '',
  tenant: options.tenant ?? '',
  paths: paths.map((path) => resolve(path)),
  options: batchOptions(options),
  name: options.name ?? '',
})

const batchOptions = ({ rules = [], locale, priority, notify = false }: BatchOptions) => ({
  rulePacks: [...rules],
  locale,
  priority: PRIORITIES[priority],
  aiEnabled: false,
  notify,
  unmaskPersonalData: false,
})

function comeBack(journal: BatchJournal, files: number): string {
  const batchId = journal.batchId()
  return batchId === undefined
    ? `${journal.uploads().size} of ${files} files are uploaded: the same command goes on from there\n`
    : `batch ${batchId} goes on: the same command comes back to it, \`docmesh batches cancel ${batchId}\` ends it\n`
}
