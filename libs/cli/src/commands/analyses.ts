import { randomUUID } from 'node:crypto'
import { Analysis, ListAnalysesResponse } from '@docmesh/contracts/analysis/v1/analysis'
import { Command, InvalidArgumentError, Option } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT, type ExitCode } from '../exit-codes.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText, morePages, type PageOptions, withPaging } from '../paging.ts'
import { collect } from '../parse.ts'
import { analysisDetails, analysisTable, STATES } from './analyses-view.ts'
import { watchAnalysis } from './analyses-watch.ts'

type Client = MeshSession['analyses']

interface JsonOptions extends GlobalOptions {
  readonly json?: boolean
}
interface ListOptions extends PageOptions {
  readonly state?: readonly string[]
  readonly document?: string
  readonly batch?: string
}
interface CancelOptions extends JsonOptions {
  readonly reason?: string
}
interface RerunOptions extends JsonOptions {
  readonly rules?: readonly string[]
}

/** Analyses that were asked for, and steering them. */
export function analysesCommand(cli: Cli): Command {
  const { io } = cli
  const asking = <O extends GlobalOptions>(
    work: (client: Client, options: O, id: string) => Promise<ExitCode | undefined>,
  ) =>
    ending<O>(cli, async (options, id = '') => {
      const code = await withMesh(cli, options, ({ analyses }) => work(analyses, options, id))
      return code ?? EXIT.ok
    })
  const show = (analysis: Analysis | undefined, json: boolean | undefined): undefined => {
    if (analysis) io.stdout.write(json ? jsonText(Analysis.toJSON(analysis)) : analysisDetails(analysis))
  }
  const analyses = new Command('analyses').description('analyses of documents').addHelpText(
    'after',
    `
Examples:
  docmesh analyses list --state running --state paused
  docmesh analyses watch 0199f3c2-…
  docmesh analyses pause 0199f3c2-…
  docmesh analyses rerun 0199f3c2-… --rules br.lgpd --rules core.contract`,
  )

  withPaging(analyses.command('list').description('list analyses, newest first'))
    .addOption(
      new Option(
        '--state <state>',
        `only analyses in this state; may be given more than once: ${Object.keys(STATES).join(', ')}`,
      ).argParser(stateName),
    )
    .option('--document <id>', 'only analyses of this document')
    .option('--batch <id>', 'only analyses of this batch')
    .action(
      asking<ListOptions>(async (client, { pageSize = 0, pageToken = '', state = [], json, ...only }) => {
        const states = state.map((name) => STATES[name as keyof typeof STATES])
        const { document: documentId = '', batch: batchId = '' } = only
        const page = await client.listAnalyses({ pageSize, pageToken, states, documentId, batchId })
        io.stdout.write(json ? jsonText(ListAnalysesResponse.toJSON(page)) : analysisTable(page.analyses))
        morePages(io, page)
        return undefined
      }),
    )

  const one = (name: string, description: string): Command =>
    analyses
      .command(name)
      .description(description)
      .argument('<id>', 'id of the analysis')
      .option('--json', 'proto3 JSON')

  one('show', 'show one analysis with its steps').action(
    asking<JsonOptions>(async (client, { json }, analysisId) =>
      show((await client.getAnalysis({ analysisId })).analysis, json),
    ),
  )
  one('watch', 'show every change of an analysis, a line each, until it has ended').action(
    asking<JsonOptions>((client, { json = false }, analysisId) =>
      watchAnalysis(client, analysisId, json, io),
    ),
  )
  one('pause', 'stop an analysis until it is resumed').action(
    asking<JsonOptions>(async (client, { json }, analysisId) =>
      show((await client.pauseAnalysis({ analysisId, requestId: randomUUID() })).analysis, json),
    ),
  )
  one('resume', 'go on with a paused analysis').action(
    asking<JsonOptions>(async (client, { json }, analysisId) =>
      show((await client.resumeAnalysis({ analysisId, requestId: randomUUID() })).analysis, json),
    ),
  )
  one('cancel', 'end an analysis and take back what it did')
    .option('--reason <text>', 'why; told to those who listen')
    .action(
      asking<CancelOptions>(async (client, { json, reason = '' }, analysisId) => {
        const { analysis } = await client.cancelAnalysis({ analysisId, reason, requestId: randomUUID() })
        return show(analysis, json)
      }),
    )
  one('retry', 'run a failed analysis again, from the step that failed').action(
    asking<JsonOptions>(async (client, { json }, analysisId) =>
      show((await client.retryAnalysis({ analysisId, requestId: randomUUID() })).analysis, json),
    ),
  )
  one('rerun', 'make a new analysis of the same version of the document')
    .option(
      '--rules <pack>',
      'rule pack, id or id@version; may be given more than once; default: the first ones, the newest of each',
      collect,
    )
    .action(
      asking<RerunOptions>(async (client, { json, rules = [] }, analysisId) => {
        const request = { analysisId, rulePacks: [...rules], requestId: randomUUID() }
        return show((await client.rerunAnalysis(request)).analysis, json)
      }),
    )
  return analyses
}

function stateName(text: string, earlier?: readonly string[]): string[] {
  if (!Object.hasOwn(STATES, text))
    throw new InvalidArgumentError(`write one of ${Object.keys(STATES).join(', ')}`)
  return collect(text, earlier)
}
