import { createHash } from 'node:crypto'
import { EXIT } from '../exit-codes.ts'
import { failureOf } from '../failure.ts'
import type { MeshSession } from '../mesh-session.ts'
import { openSource } from '../source.ts'
import { uploadDocument } from '../upload.ts'
import type { Refused } from './files.ts'
import type { BatchJournal, UploadedFile } from './journal.ts'

export interface UploadOptions {
  readonly documents: MeshSession['documents']
  readonly journal: BatchJournal
  readonly signal: AbortSignal
  onUploaded(done: number): void
  onRefused(refused: Refused): void
}

/** Uploads at the same time. */
const CONCURRENCY = 4

/**
 * Uploads what the journal does not have yet; a file that has changed since is uploaded again. What is wrong with one file
 * does not keep the others from being uploaded. Resolves with the uploads in the order of the files.
 */
export async function uploadFiles(
  files: readonly string[],
  { documents, journal, signal, onUploaded, onRefused }: UploadOptions,
): Promise<UploadedFile[]> {
  const uploaded: (UploadedFile | undefined)[] = files.map(() => undefined)
  const waiting = files.entries()
  let done = 0
  let stopped = false

  async function upload(path: string): Promise<UploadedFile> {
    const source = await openSource(path, { stdin: nothing(), signal })
    const { sha256 } = source
    const before = journal.uploads().get(path)
    if (before?.sha256 === sha256) return before
    const { id } = await uploadDocument(documents, source, () => {}, requestIdOf(journal, path, sha256))
    const now = { path, sha256, documentId: id }
    journal.addUpload(now)
    return now
  }

  async function work(): Promise<void> {
    for (const [index, path] of waiting) {
      if (stopped) return
      try {
        uploaded[index] = await upload(path)
      } catch (error) {
        const { exitCode, what } = failureOf(error, signal.aborted)
        if (exitCode === EXIT.interrupted || exitCode === EXIT.unreachable) {
          stopped = true
          throw error
        }
        const refused = { path, reason: what, exitCode }
        journal.addRefused(refused)
        onRefused(refused)
      }
      onUploaded(++done)
    }
  }

  await Promise.all(Array.from({ length: CONCURRENCY }, work))
  return uploaded.filter((upload) => upload !== undefined)
}

/** The same for the same content of the same file, so that an upload whose answer was lost is not made twice. */
const requestIdOf = ({ requestId }: BatchJournal, path: string, sha256: string): string =>
  `${requestId}:${createHash('sha256').update(`${path}\n${sha256}`).digest('hex')}`

async function* nothing(): AsyncIterable<Uint8Array> {}
