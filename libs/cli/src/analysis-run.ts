import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Analysis,
  AnalysisState,
  type Finding,
  StepState,
  Verdict,
} from '@docmesh/contracts/analysis/v1/analysis'
import { Code, currentCall, RpcError, runInCall } from '@docmesh/rpc'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { CliError, helpFor, refusesDocument } from './failure.ts'
import type { MeshSession } from './mesh-session.ts'
import type { Progress } from './render/progress.ts'
import { durationMs } from './render/text.ts'
import { type Format, WIRE_FORMATS } from './report-format.ts'
import type { Source } from './source.ts'
import { uploadDocument } from './upload.ts'

export interface AnalysisRequest {
  readonly rulePacks: readonly string[]
  readonly locale: string
  readonly notify: boolean
}

type Analyses = MeshSession['analyses']

const CANCEL_TIMEOUT_MS = 2_000
const MAX_BROKEN_WATCHES = 20
const WATCH_RETRY_MS = 250
const ENDED: readonly AnalysisState[] = [
  AnalysisState.COMPLETED,
  AnalysisState.FAILED,
  AnalysisState.CANCELLED,
]

/** Uploads and analyses one document. @throws RpcError, and CliError when the analysis did not complete. */
export async function analyzeSource(
  { documents, analyses }: Pick<MeshSession, 'documents' | 'analyses'>,
  source: Source,
  request: AnalysisRequest,
  progress: Progress,
): Promise<Analysis> {
  const upload = (sent: number): void =>
    progress.update({
      step: 'upload',
      percent: source.sizeBytes === 0 ? 100 : (100 * sent) / source.sizeBytes,
    })
  upload(0)
  const document = await uploadDocument(documents, source, upload)
  const { analysis } = await analyses.startAnalysis({
    documentId: document.id,
    documentVersion: document.currentVersion?.number ?? 0,
    options: { ...request, rulePacks: [...request.rulePacks] },
    requestId: randomUUID(),
  })
  if (!analysis) throw new Error('The service answered without the analysis.')
  return completed(await watched(analyses, analysis, progress))
}

/** Follows an analysis to its end, over restarts of the instance that tells of it; cancels it when we are interrupted. */
async function watched(analyses: Analyses, started: Analysis, progress: Progress): Promise<Analysis> {
  const signal = currentCall()?.signal
  let latest = started
  for (let broken = 0; !ENDED.includes(latest.state); broken++) {
    try {
      for await (const { analysis } of analyses.watchAnalysis({ analysisId: started.id })) {
        if (!analysis) continue
        latest = analysis
        broken = 0
        progress.update(progressOf(analysis))
      }
    } catch (error) {
      if (signal?.aborted) {
        await cancel(analyses, started.id)
        throw error
      }
      const passing = error instanceof RpcError && error.code === Code.UNAVAILABLE
      if (!passing || broken === MAX_BROKEN_WATCHES) throw error
      await delay(WATCH_RETRY_MS)
    }
  }
  return latest
}

function progressOf({ steps, state, queuePosition, progressPercent, estimatedRemaining }: Analysis) {
  const current =
    steps.find((step) => step.state === StepState.RUNNING) ??
    steps.findLast((step) => step.state === StepState.COMPLETED)
  const step = state === AnalysisState.QUEUED ? `queued, place ${queuePosition}` : current?.name
  return {
    step: IDLE[state] ?? step ?? 'starting',
    percent: progressPercent,
    remainingMs: durationMs(estimatedRemaining),
  }
}

/** What to call a state in which no step runs. */
const IDLE: Readonly<Partial<Record<AnalysisState, string>>> = {
  [AnalysisState.PAUSED]: 'paused',
  [AnalysisState.COMPLETED]: 'done',
  [AnalysisState.FAILED]: 'failed',
  [AnalysisState.CANCELLED]: 'cancelled',
}

/** Best effort, with time of its own: the call we are in has been cancelled already. */
async function cancel(analyses: Analyses, analysisId: string): Promise<void> {
  const call = currentCall()
  if (!call) return
  const own = { ...call, deadline: Date.now() + CANCEL_TIMEOUT_MS, signal: new AbortController().signal }
  const request = { analysisId, requestId: randomUUID(), reason: 'interrupted at the command line' }
  await runInCall(own, () => analyses.cancelAnalysis(request)).catch(() => {})
}

function completed(analysis: Analysis): Analysis {
  const { state, failure } = analysis
  if (state === AnalysisState.COMPLETED) return analysis
  if (state === AnalysisState.CANCELLED)
    throw new CliError(EXIT.failed, 'the analysis was cancelled', 'start it again')
  const reason = failure?.reason ?? ''
  const what = failure?.message || `the analysis failed at the step ${failure?.step || 'unknown'}`
  const hint = failure?.retryable ? 'try again' : helpFor(reason)
  throw new CliError(refusesDocument(reason) ? EXIT.document : EXIT.failed, what, hint)
}

/** Without `failUnder` the findings do not matter; a document without a score could not be read. */
export function exitCodeOf({ result }: Analysis, failUnder: number | undefined): ExitCode {
  if (result?.score === undefined) return EXIT.document
  if (failUnder === undefined) return EXIT.ok
  return result.score < failUnder || result.verdict === Verdict.FAIL ? EXIT.belowThreshold : EXIT.ok
}

const PAGE_SIZE = 1_000

export async function allFindings(analyses: Analyses, analysisId: string): Promise<Finding[]> {
  const all: Finding[] = []
  let pageToken = ''
  do {
    const page = await analyses.listFindings({ analysisId, pageSize: PAGE_SIZE, pageToken })
    all.push(...page.findings)
    pageToken = page.nextPageToken
  } while (pageToken !== '')
  return all
}

/** The report as the analysis service renders it. */
export async function downloadReport(
  analyses: Analyses,
  analysisId: string,
  format: Exclude<Format, 'text'>,
  locale: string,
): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const { part } of analyses.getReport({ analysisId, format: WIRE_FORMATS[format], locale }))
    if (part?.$case === 'chunk') chunks.push(part.value)
  return Buffer.concat(chunks).toString('utf8')
}
