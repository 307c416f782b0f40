import { type Analysis, Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import { Argument, Command, Option } from 'commander'
import { allFindings, analyzeSource, downloadReport, exitCodeOf } from '../analysis-run.ts'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT, type ExitCode, worstOf } from '../exit-codes.ts'
import { CliError, failureOf, failureText } from '../failure.ts'
import type { MeshSession } from '../mesh-session.ts'
import { collect, wholeNumber } from '../parse.ts'
import { LABELS, LOCALES, type Locale } from '../render/labels.ts'
import { createProgress } from '../render/progress.ts'
import { textReport } from '../render/report.ts'
import { styleFor } from '../render/style.ts'
import { table } from '../render/table.ts'
import { plain } from '../render/text.ts'
import { FORMATS, type Format } from '../report-format.ts'
import { type Report, writeReports } from '../report-writer.ts'
import { openSource } from '../source.ts'

export interface ReportOptions extends GlobalOptions {
  readonly rules?: readonly string[]
  readonly format: Format
  readonly json?: boolean
  readonly output?: string
  readonly failUnder?: number
  readonly locale: Locale
  readonly notify?: boolean
}

/** The options that `analyze` and `start` share. */
export const withReportOptions = (command: Command): Command =>
  command
    .option('--rules <pack>', 'rule pack, id or id@version; may be given more than once', collect)
    .addOption(new Option('--format <format>', 'form of the report').choices(FORMATS).default('text'))
    .option('--json', 'the same as --format json')
    .option(
      '--output <path>',
      'write the report here instead, or into this folder; with several files always a folder',
    )
    .option(
      '--fail-under <score>',
      'exit with 1 below this score or when the verdict is fail',
      wholeNumber(0, 100),
    )
    .addOption(new Option('--locale <locale>', 'language of the report').choices(LOCALES).default('en'))
    .option('--notify', 'tell me when an analysis has ended')

export const analyzeCommand = (cli: Cli): Command =>
  withReportOptions(
    new Command('analyze')
      .description('check documents against rules and report what does not conform')
      .addArgument(new Argument('<files...>', 'PDF, DOCX, HTML, Markdown or text; - reads standard input')),
  )
    .addHelpText(
      'after',
      `
Several files without --output: json is an array, sarif one log with all runs, text and markdown follow one another;
html needs --output. The exit code is the highest of all files.

Examples:
  docmesh analyze contract.pdf
  docmesh analyze contract.docx --rules core.contract --locale pt-BR
  docmesh analyze contracts/*.pdf --format sarif --output reports/ --fail-under 70
  curl -s https://example.org/terms.html | docmesh analyze - --json`,
    )
    .action(
      ending<ReportOptions>(cli, (options, ...files) => {
        checkOutput(files, options)
        return withMesh(cli, options, (session) => analyzeFiles(files, options, session, cli))
      }),
    )

const formatOf = ({ json, format }: ReportOptions): Format => (json ? 'json' : format)

function checkOutput(files: readonly string[], options: ReportOptions): void {
  if (files.filter((file) => file === '-').length > 1)
    throw new CliError(EXIT.usage, 'standard input can be read once', 'give - only once')
  if (files.length > 1 && formatOf(options) === 'html' && options.output === undefined)
    throw new CliError(
      EXIT.usage,
      'several HTML reports do not fit on standard output',
      'add --output FOLDER',
    )
}

interface Outcome {
  readonly file: string
  readonly exitCode: ExitCode
  /** What the summary says. */
  readonly result: string
  readonly score: string
}

/** Analyses files one after the other; what is wrong with one does not keep the others from being analysed. */
export async function analyzeFiles(
  files: readonly string[],
  options: ReportOptions,
  session: MeshSession,
  cli: Pick<Cli, 'io'>,
): Promise<ExitCode> {
  const { io } = cli
  const outcomes: Outcome[] = []
  const reports: Report[] = []
  const several = files.length > 1
  const write = () =>
    writeReports(reports, { format: formatOf(options), output: options.output, several }, io)
  for (const file of files) {
    try {
      const analysis = await analyzeFile(file, options, session, cli)
      reports.push({ file, text: await reportOf(analysis, options, session, cli) })
      outcomes.push(outcomeOf(file, analysis, options))
    } catch (error) {
      const failure = failureOf(error, io.signal.aborted)
      const concernsAll = failure.exitCode === EXIT.interrupted || failure.exitCode === EXIT.unreachable
      // What has been reported so far is not lost.
      if (concernsAll && reports.length > 0) await write()
      if (!several || concernsAll) throw error
      io.stderr.write(failureText({ ...failure, what: `${plain(file)}: ${failure.what}` }))
      outcomes.push({ file, exitCode: failure.exitCode, result: failure.what, score: '-' })
    }
  }
  await write()
  if (several) {
    const rows = outcomes.map(({ file, score, result, exitCode }) => [String(exitCode), score, file, result])
    io.stderr.write(`\n${table(['EXIT', 'SCORE', 'FILE', 'RESULT'], rows)}`)
  }
  return worstOf(outcomes.map(({ exitCode }) => exitCode))
}

async function analyzeFile(
  file: string,
  { rules = [], locale, notify = false }: ReportOptions,
  session: MeshSession,
  { io }: Pick<Cli, 'io'>,
): Promise<Analysis> {
  const source = await openSource(file, io)
  const progress = createProgress(io.stderr, source.name)
  try {
    return await analyzeSource(session, source, { rulePacks: rules, locale, notify }, progress)
  } finally {
    progress.end()
  }
}

async function reportOf(
  analysis: Analysis,
  options: ReportOptions,
  { analyses }: MeshSession,
  { io }: Pick<Cli, 'io'>,
): Promise<string> {
  const { locale, color, output } = options
  const format = formatOf(options)
  if (format !== 'text') return downloadReport(analyses, analysis.id, format, locale)
  const terminal = output === undefined && io.stdout.isTTY === true
  const style = styleFor(terminal, { env: io.env, color })
  const width = Math.max(MIN_WIDTH, Math.min(io.stdout.columns || MAX_WIDTH, MAX_WIDTH))
  return textReport(analysis, await allFindings(analyses, analysis.id), { locale, style, width })
}

const MIN_WIDTH = 40
const MAX_WIDTH = 100

function outcomeOf(file: string, analysis: Analysis, { failUnder, locale }: ReportOptions): Outcome {
  const { score, verdict = Verdict.UNSPECIFIED } = analysis.result ?? {}
  return {
    file,
    exitCode: exitCodeOf(analysis, failUnder),
    result: LABELS[locale].verdicts[verdict],
    score: score === undefined ? '-' : String(score),
  }
}
