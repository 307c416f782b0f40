import { setTimeout as delay } from 'node:timers/promises'
import { Analysis, AnalysisState } from '@docmesh/contracts/analysis/v1/analysis'
import { Code, currentCall, RpcError } from '@docmesh/rpc'
import { EXIT, type ExitCode } from '../exit-codes.ts'
import { CliError } from '../failure.ts'
import type { Io } from '../io.ts'
import type { MeshSession } from '../mesh-session.ts'
import { plain, timeText } from '../render/text.ts'
import { percentText, stateText, stepText } from './analyses-view.ts'

const MAX_BROKEN_WATCHES = 20
const WATCH_RETRY_MS = 250
const EXIT_CODES: Readonly<Partial<Record<AnalysisState, ExitCode>>> = {
  [AnalysisState.COMPLETED]: EXIT.ok,
  [AnalysisState.FAILED]: EXIT.failed,
  [AnalysisState.CANCELLED]: EXIT.failed,
}

/**
 * Writes a line for each change of an analysis until it has ended, over restarts of the instance that tells of it. Only
 * looks: an interrupt leaves the analysis as it is.
 */
export async function watchAnalysis(
  analyses: MeshSession['analyses'],
  analysisId: string,
  json: boolean,
  { stdout }: Io,
): Promise<ExitCode> {
  let last = ''
  let lost: unknown
  for (let broken = 0; broken <= MAX_BROKEN_WATCHES; broken++) {
    if (broken > 0) await delay(WATCH_RETRY_MS, undefined, { signal: currentCall()?.signal })
    try {
      for await (const { analysis } of analyses.watchAnalysis({ analysisId })) {
        if (!analysis) continue
        broken = 0
        const line = json ? JSON.stringify(Analysis.toJSON(analysis)) : newsOf(analysis)
        // After a break the state comes again.
        if (line !== last) stdout.write(json ? `${line}\n` : `${timeText(new Date())}  ${line}\n`)
        last = line
        const exitCode = EXIT_CODES[analysis.state]
        if (exitCode !== undefined) return exitCode
      }
    } catch (error) {
      if (!(error instanceof RpcError) || error.code !== Code.UNAVAILABLE) throw error
      lost = error
    }
  }
  throw lost ?? new CliError(EXIT.unreachable, 'the mesh stopped telling of the analysis', 'try again')
}

const newsOf = (analysis: Analysis): string =>
  plain([stateText(analysis.state), percentText(analysis), stepText(analysis)].join('  '))
