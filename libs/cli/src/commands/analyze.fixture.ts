import {
  type Analysis,
  type AnalysisServiceDefinition,
  AnalysisState,
  ReportFormat,
  Severity,
  type StartAnalysisRequest,
  StepState,
  Verdict,
} from '@docmesh/contracts/analysis/v1/analysis'
import type { DocumentServiceDefinition, UploadMetadata } from '@docmesh/contracts/document/v1/document'
import { type CallContext, type Handlers, rpcError } from '@docmesh/rpc'

interface Upload {
  readonly metadata: UploadMetadata
  readonly content: Buffer
  readonly largestChunk: number
}

interface WorldOptions {
  readonly score?: number
  readonly verdict?: Verdict
  readonly documents?: Handlers<typeof DocumentServiceDefinition>
  readonly analyses?: Handlers<typeof AnalysisServiceDefinition>
}

/** Document and analysis service in memory: enough of each to see what the command line asks for. */
export function world({
  score = 63,
  verdict = Verdict.FAIL,
  documents = {},
  analyses = {},
}: WorldOptions = {}) {
  const uploads: Upload[] = []
  const started: StartAnalysisRequest[] = []
  const callers: CallContext[] = []
  const cancelled: string[] = []
  const nameOf = (id: string): string => uploads[Number(id.slice(2)) - 1]?.metadata.name ?? ''
  const running = (id: string, name: string, progressPercent: number) => ({
    id,
    state: AnalysisState.RUNNING,
    progressPercent,
    steps: [{ name, state: StepState.RUNNING }],
  })
  const completed = (id: string): Partial<Analysis> => ({
    id,
    state: AnalysisState.COMPLETED,
    documentName: nameOf(id),
    progressPercent: 100,
    result: { score, verdict, ledger: [], coverage: undefined, counts: undefined },
  })
  const services = {
    documents: {
      async uploadDocument(requests, call) {
        callers.push(call)
        const chunks: Buffer[] = []
        let metadata: UploadMetadata | undefined
        for await (const { part } of requests) {
          if (part?.$case === 'metadata') metadata = part.value
          else if (part) chunks.push(part.value)
        }
        if (!metadata) throw rpcError('EMPTY_DOCUMENT', 'No metadata came.')
        if (metadata.name.startsWith('refuse'))
          throw rpcError('UNSUPPORTED_TYPE', 'This type of file is not supported.')
        const largestChunk = Math.max(...chunks.map(({ length }) => length))
        uploads.push({ metadata, content: Buffer.concat(chunks), largestChunk })
        return { document: { id: `d-${uploads.length}`, currentVersion: { number: 1 } } }
      },
      ...documents,
    } satisfies Handlers<typeof DocumentServiceDefinition>,
    analyses: {
      async startAnalysis(request, call) {
        started.push(request)
        callers.push(call)
        return { analysis: { id: request.documentId.replace('d', 'a'), state: AnalysisState.QUEUED } }
      },
      async *watchAnalysis({ analysisId }) {
        yield { analysis: running(analysisId, 'extract', 10) }
        yield { analysis: running(analysisId, 'rules', 55) }
        yield { analysis: completed(analysisId) }
      },
      async listFindings({ pageToken }) {
        const severity = Severity.HIGH
        return pageToken === ''
          ? { findings: [{ ruleId: 'CT-001', title: 'First page', severity }], nextPageToken: 'next' }
          : { findings: [{ ruleId: 'CT-002', title: 'Second page', severity }] }
      },
      async *getReport({ analysisId, format, locale }) {
        const name = nameOf(analysisId)
        yield { part: { $case: 'metadata', value: {} } }
        const text =
          format === ReportFormat.SARIF
            ? JSON.stringify({ version: '2.1.0', runs: [{ name }] })
            : JSON.stringify({ name, format, locale })
        for (const piece of [text.slice(0, 5), text.slice(5)])
          yield { part: { $case: 'chunk', value: Buffer.from(piece) } }
      },
      async cancelAnalysis({ analysisId }, call) {
        callers.push(call)
        cancelled.push(analysisId)
        return { analysis: { id: analysisId, state: AnalysisState.CANCELLED } }
      },
      ...analyses,
    } satisfies Handlers<typeof AnalysisServiceDefinition>,
  }
  return { services, uploads, started, callers, cancelled }
}

export const failing = (failure: { reason: string; message: string }): WorldOptions => ({
  analyses: {
    async *watchAnalysis({ analysisId }) {
      yield { analysis: { id: analysisId, state: AnalysisState.FAILED, failure } }
    },
  },
})
