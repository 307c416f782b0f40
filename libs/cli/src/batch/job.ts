import type { BatchHeader } from '@docmesh/contracts/analysis/v1/batch'
import { RpcError } from '@docmesh/rpc'
import { EXIT } from '../exit-codes.ts'
import { CliError } from '../failure.ts'
import type { MeshSession } from '../mesh-session.ts'
import { type FoundFiles, refusedText } from './files.ts'
import type { BatchJournal } from './journal.ts'
import type { BatchProgress } from './progress.ts'
import { analysesOf, createBatch, watchBatch } from './run.ts'
import type { BatchSummary } from './summary.ts'
import { uploadFiles } from './upload.ts'

export type WantedBatch = Omit<BatchHeader, 'requestId'>

export interface BatchWork {
  readonly session: MeshSession
  readonly journal: BatchJournal
  readonly progress: BatchProgress
  readonly signal: AbortSignal
}

/** From the files, or from wherever the journal says, to the end of the batch. Undefined when no file could be uploaded. */
export async function runBatchJob(
  { files, refused }: FoundFiles,
  wanted: WantedBatch,
  work: BatchWork,
): Promise<BatchSummary | undefined> {
  const { session, journal, progress } = work
  const earlier = journal.batchId()
  if (earlier) progress.print(`coming back to batch ${earlier}${lateText(files, journal)}\n`)
  const batchId = earlier ?? (await begun(files, wanted, work))
  if (!batchId) return undefined
  const batch = await watchBatch(session.batches, batchId, progress.analyses).catch(orGone)
  const analyses = await analysesOf(session.analyses, batchId)
  const outcomes = [...journal.uploads().values()]
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map(({ path, documentId }) => ({ file: path, documentId, analysis: analyses.get(documentId) }))
    // A file that was deleted before the batch was made has no part in it.
    .filter(({ analysis }) => analysis !== undefined || batch.cancelled > 0)
  return { batch, outcomes, refused: [...refused, ...journal.refused()] }
}

/** Uploads the files and makes the batch. Returns its id; undefined when no file could be uploaded. */
async function begun(
  files: readonly string[],
  wanted: WantedBatch,
  { session, journal, progress, signal }: BatchWork,
): Promise<string | undefined> {
  progress.uploads(0, files.length)
  const uploaded = await uploadFiles(files, {
    documents: session.documents,
    journal,
    signal,
    onUploaded: (done) => progress.uploads(done, files.length),
    onRefused: (refused) => progress.print(refusedText(refused)),
  })
  if (uploaded.length === 0) return undefined
  const header = { ...wanted, requestId: journal.requestId }
  const documentIds = uploaded.map(({ documentId }) => documentId)
  const { id } = await createBatch(session.batches, header, documentIds)
  journal.setBatch(id)
  return id
}

function lateText(files: readonly string[], journal: BatchJournal): string {
  const known = new Set([...journal.uploads().keys(), ...journal.refused().map(({ path }) => path)])
  const late = files.filter((file) => !known.has(file)).length
  return late === 0 ? '' : `; files that are new since, for the next one: ${late}`
}

function orGone(error: unknown): never {
  if (error instanceof RpcError && error.reason === 'BATCH_NOT_FOUND')
    throw new CliError(EXIT.usage, 'the batch is gone', 'the same command begins another one')
  throw error
}
