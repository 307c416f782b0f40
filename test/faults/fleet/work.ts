// What callers of the fleet do: upload, ask for analyses one by one, in batches and by jobs, wait for their ends. They repeat a
// call that fails, as the command line does, under the same request id.
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Analysis,
  AnalysisServiceDefinition,
  AnalysisState,
} from '@docmesh/contracts/analysis/v1/analysis'
import { BatchServiceDefinition } from '@docmesh/contracts/analysis/v1/batch'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { JobServiceDefinition } from '@docmesh/contracts/ops/v1/job'
import type { Mesh } from '@docmesh/mesh'
import { runInCall } from '@docmesh/rpc'
import { eventually } from '@docmesh/testing'

const AT_ONCE = 8
const CHUNK_BYTES = 64 * 1024
const PATIENCE = { timeoutMs: 120_000, intervalMs: 100 }
const POLL_MS = 250
const PAGE = 200
const MAX_IMPATIENT = 2_000
const IMPATIENT_AT_ONCE = 3
const IMPATIENT_MS = 2_000
/** What refuses at once is not asked in a loop. */
const BREATH_MS = 100

export interface Work {
  /** Uploads that many contracts, each of its own content; their document ids. */
  upload(count: number): Promise<readonly string[]>
  /** Uploads until the signal says so, and repeats nothing that fails; what became of them. */
  uploadImpatiently(signal: AbortSignal): Promise<{ readonly stored: number; readonly givenUp: number }>
  /** Asks for one analysis of each, with notification; the analysis ids in the order of the documents. */
  analyze(documentIds: readonly string[], userId?: string): Promise<readonly string[]>
  /** Asks for one batch of them, with notification; its id. */
  batch(documentIds: readonly string[]): Promise<string>
  /** Queues a job for each that starts an analysis, with notification; the job ids. */
  enqueue(documentIds: readonly string[]): Promise<readonly string[]>
  /** Resolves when so many analyses have ended and none of the mesh's is open; their last states, in any order. */
  ended(count: number, options: { readonly timeoutMs: number }): Promise<readonly Analysis[]>
  /** Calls so far that failed and were repeated. */
  repeated(): number
}

export function createWork(mesh: Mesh): Work {
  const analyses = mesh.client(AnalysisServiceDefinition, 'analysis')
  const batches = mesh.client(BatchServiceDefinition, 'analysis')
  const documents = mesh.client(DocumentServiceDefinition, 'document')
  const jobs = mesh.client(JobServiceDefinition, 'analysis')
  let repeated = 0
  let uploads = 0

  const persistently = <T>(call: () => Promise<T>): Promise<T> =>
    eventually(
      () =>
        call().catch((error: unknown) => {
          repeated++
          throw error
        }),
      PATIENCE,
    )

  async function list(states: AnalysisState[], pageSize: number): Promise<Analysis[]> {
    const all: Analysis[] = []
    for (let pageToken = ''; ; ) {
      const page = await persistently(() => analyses.listAnalyses({ states, pageSize, pageToken }))
      all.push(...page.analyses)
      pageToken = page.nextPageToken
      if (pageToken === '' || pageSize === 1) return all
    }
  }

  return {
    upload: (count) =>
      inTurns(
        Array.from({ length: count }, () => uploads++),
        async (number) => {
          const name = `contract-${number}`
          const { document } = await persistently(() =>
            documents.uploadDocument(partsOf(name, contract(number))),
          )
          return document?.id ?? ''
        },
      ),
    async uploadImpatiently(signal) {
      const outcomes = { stored: 0, givenUp: 0 }
      const numbers = Array.from({ length: MAX_IMPATIENT }, (_, at) => at)
      const send = async (number: number): Promise<void> => {
        if (signal.aborted) return
        const parts = partsOf(`note-${number}`, Buffer.from(`Nota ${number}: ${'cláusula '.repeat(2_000)}`))
        await documents.uploadDocument(parts, { timeoutMs: IMPATIENT_MS }).then(
          () => void outcomes.stored++,
          async () => {
            outcomes.givenUp++
            await delay(BREATH_MS)
          },
        )
      }
      await inTurns(numbers, send, IMPATIENT_AT_ONCE)
      return outcomes
    },
    analyze: (documentIds, userId = '') =>
      inTurns(documentIds, async (documentId) => {
        const request = { documentId, requestId: `of-${documentId}-${userId}`, options: OPTIONS }
        const { analysis } = await persistently(() => asUser(userId, () => analyses.startAnalysis(request)))
        return analysis?.id ?? ''
      }),
    async batch(documentIds) {
      const requestId = `batch-of-${documentIds[0]}`
      async function* parts() {
        yield { part: { $case: 'header', value: { requestId, name: requestId, options: OPTIONS } } } as const
        for (const value of documentIds) yield { part: { $case: 'documentId', value } } as const
      }
      const { batch } = await persistently(() => batches.createBatch(parts()))
      return batch?.id ?? ''
    },
    enqueue: (documentIds) =>
      inTurns(documentIds, async (document_id) => {
        const input = { document_id, notify: true }
        const request = { type: 'analysis:start', input, requestId: `job-of-${document_id}` }
        const { job } = await persistently(() => jobs.enqueueJob(request))
        return job?.id ?? ''
      }),
    async ended(count, { timeoutMs }) {
      const open = [AnalysisState.QUEUED, AnalysisState.RUNNING]
      return eventually(
        async () => {
          if ((await list(open, 1)).length > 0) throw new Error('analyses are still open')
          const all = await list([], PAGE)
          if (all.length < count) throw new Error(`${all.length} of ${count} analyses have begun`)
          return all
        },
        { timeoutMs, intervalMs: POLL_MS },
      )
    },
    repeated: () => repeated,
  }
}

const OPTIONS = { notify: true, locale: 'en' }
const CALL_MS = 30_000

/** Calls for a user, as a service does that was called by one. */
export function asUser<T>(userId: string, call: () => Promise<T>): Promise<T> {
  const context = { requestId: '', tenantId: '', deadline: Date.now() + CALL_MS, userId }
  return runInCall({ ...context, signal: AbortSignal.timeout(CALL_MS) }, call)
}

export async function* partsOf(name: string, bytes: Buffer) {
  const metadata = { name: `${name}.md`, requestId: name }
  yield { part: { $case: 'metadata', value: metadata } } as const
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
    yield { part: { $case: 'chunk', value: bytes.subarray(at, at + CHUNK_BYTES) } } as const
}

/** Long enough to be killed in the middle of, and about its own matters. */
function contract(seed: number): Buffer {
  const clause = (number: number): string =>
    `## Cláusula ${number}\n\nA contratada ${seed} prestará os serviços no prazo de ${number} dias, ao preço de R$ ${number}.000,00, sob pena de multa.\n`
  const clauses = Array.from({ length: 500 + (seed % 5) * 250 }, (_, at) => clause(at + 1))
  return Buffer.from(`# Contrato de prestação de serviços ${seed}\n\n${clauses.join('\n')}`)
}

async function inTurns<Item, Result>(
  items: readonly Item[],
  run: (item: Item) => Promise<Result>,
  atOnce = AT_ONCE,
): Promise<Result[]> {
  const results: Result[] = []
  const entries = items.entries()
  const take = async (): Promise<void> => {
    for (const [at, item] of entries) results[at] = await run(item)
  }
  await Promise.all(Array.from({ length: atOnce }, take))
  return results
}
