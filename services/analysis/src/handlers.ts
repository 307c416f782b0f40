import {
  Analysis as AnalysisMessage,
  type AnalysisServiceDefinition,
  Finding as FindingMessage,
} from '@docmesh/contracts/analysis/v1/analysis'
import { checkText, type Handlers, invalidRequest, pageFrom, readPage } from '@docmesh/rpc'
import type { Analyses } from './analyses.ts'
import type { Analysis } from './analysis.ts'
import { fitting } from './pages.ts'
import type { Reports } from './reports.ts'
import { analysisMessage, findingMessage, optionsFrom, SEVERITIES, stateFrom } from './wire.ts'

const CHUNK_BYTES = 64 * 1024
const MAX_PACKS = 20
const MAX_STATES = 100
const MAX_REASON = 1_000
const DEFAULT_FINDINGS = 100

/** AnalysisService: wire ↔ domain. */
export function analysisHandlers(
  analyses: Analyses,
  reports: Reports,
): Handlers<typeof AnalysisServiceDefinition> {
  const message = async (analysis: Analysis) => analysisMessage(analysis, await analyses.outlook(analysis))
  return {
    async startAnalysis({ documentId, documentVersion, options, requestId }, call) {
      const wanted = optionsFrom(options)
      checkText('request_id', requestId)
      checkPackCount(wanted.rulePacks, 'options.rule_packs')
      return {
        analysis: await message(await analyses.start(documentId, documentVersion, wanted, requestId, call)),
      }
    },
    async getAnalysis({ analysisId }, call) {
      return { analysis: await message(await analyses.get(analysisId, call)) }
    },
    async listAnalyses(request, call) {
      if (request.states.length > MAX_STATES)
        throw invalidRequest([{ field: 'states', description: `at most ${MAX_STATES}` }])
      const states = request.states.map(stateFrom).filter((state) => state !== undefined)
      // No analysis is in a state that this version does not have.
      if (request.states.length > 0 && states.length === 0) return { analyses: [], nextPageToken: '' }
      const { documentId, batchId } = request
      const found = await analyses.list({ documentId, batchId, states }, request, call)
      const messages = found.items.map((analysis) => analysisMessage(analysis))
      const fits = fitting(messages, AnalysisMessage)
      const { nextPageToken } = fits < messages.length ? pageFrom(found.items, fits, ({ id }) => id) : found
      return { analyses: messages.slice(0, fits), nextPageToken }
    },
    async listFindings(request, call) {
      const { size, after } = readPage(request, (key) => /^\d{1,9}$/.test(key), DEFAULT_FINDINGS)
      const from = Number(after)
      const { analysis, findings } = await analyses.findings(request.analysisId, call)
      const rest = [...findings.entries()].filter(
        ([index, { severity }]) => index >= from && SEVERITIES[severity] >= request.minimumSeverity,
      )
      const messages = rest.slice(0, size).map(([index, finding]) => findingMessage(finding, index, analysis))
      const fits = fitting(messages, FindingMessage)
      const { nextPageToken } = pageFrom(rest, fits, ([index]) => String(index + 1))
      return { findings: messages.slice(0, fits), nextPageToken }
    },
    async *watchAnalysis({ analysisId }, call) {
      for await (const analysis of analyses.watch(analysisId, call, call.signal))
        yield { analysis: await message(analysis) }
    },
    async *getReport({ analysisId, format, locale }, call) {
      const { mediaType, fileName, content } = await reports(analysisId, format, locale, call, call.signal)
      yield { part: { $case: 'metadata', value: { mediaType, fileName, sizeBytes: BigInt(content.length) } } }
      for (let at = 0; at < content.length; at += CHUNK_BYTES) {
        yield { part: { $case: 'chunk', value: content.subarray(at, at + CHUNK_BYTES) } }
      }
    },
    async cancelAnalysis({ analysisId, reason }, call) {
      checkText('reason', reason, MAX_REASON)
      return { analysis: analysisMessage(await analyses.cancel(analysisId, reason, call)) }
    },
    async pauseAnalysis({ analysisId, requestId }, call) {
      checkText('request_id', requestId)
      return { analysis: await message(await analyses.pause(analysisId, requestId, call)) }
    },
    async resumeAnalysis({ analysisId, requestId }, call) {
      checkText('request_id', requestId)
      return { analysis: await message(await analyses.resume(analysisId, requestId, call)) }
    },
    async retryAnalysis({ analysisId, requestId }, call) {
      checkText('request_id', requestId)
      return { analysis: await message(await analyses.retry(analysisId, requestId, call)) }
    },
    async rerunAnalysis({ analysisId, rulePacks, requestId }, call) {
      checkText('request_id', requestId)
      checkPackCount(rulePacks, 'rule_packs')
      return { analysis: await message(await analyses.rerun(analysisId, rulePacks, requestId, call)) }
    },
  }
}

function checkPackCount(rulePacks: readonly string[], field: string): void {
  if (rulePacks.length > MAX_PACKS) throw invalidRequest([{ field, description: `at most ${MAX_PACKS}` }])
}
