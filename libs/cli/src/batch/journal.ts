import { createHash, randomUUID } from 'node:crypto'
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { EXIT } from '../exit-codes.ts'
import { CliError } from '../failure.ts'
import type { Refused } from './files.ts'

export interface UploadedFile {
  /** Absolute. */
  readonly path: string
  readonly sha256: string
  readonly documentId: string
}

/** What a batch command has done so far, kept over its end: the same command goes on from here. */
export interface BatchJournal {
  /** Of the batch, and part of those of its uploads. */
  readonly requestId: string
  batchId(): string | undefined
  /** By path. */
  uploads(): ReadonlyMap<string, UploadedFile>
  /** Files that were tried in vain. */
  refused(): readonly Refused[]
  addUpload(upload: UploadedFile): void
  addRefused(refused: Refused): void
  setBatch(batchId: string): void
  remove(): void
}

type Line = { readonly requestId: string } | { readonly batchId: string } | UploadedFile | Refused

/** $XDG_STATE_HOME/docmesh/batches, where that is ~/.local/state when it is not set. */
export function journalFolder(env: Readonly<Record<string, string | undefined>>): string {
  const { XDG_STATE_HOME: chosen = '', HOME: home = homedir() } = env
  return join(isAbsolute(chosen) ? chosen : join(home, '.local', 'state'), 'docmesh', 'batches')
}

/**
 * Opens the journal of a command, which `identity` tells from all others. One line is added for each thing done, so a process
 * that is killed loses at most the line that it was writing. @throws CliError when the folder cannot be written.
 */
export function openBatchJournal(folder: string, identity: unknown): BatchJournal {
  const file = join(folder, `${createHash('sha256').update(JSON.stringify(identity)).digest('hex')}.jsonl`)
  const uploads = new Map<string, UploadedFile>()
  const refused = new Map<string, Refused>()
  let requestId = ''
  let batchId: string | undefined

  const read = (line: Line): void => {
    if ('requestId' in line) requestId = line.requestId
    else if ('batchId' in line) batchId = line.batchId
    else if ('reason' in line) refused.set(line.path, line)
    else {
      uploads.set(line.path, line)
      refused.delete(line.path)
    }
  }
  const write = (line: Line): void => {
    // Paths may be nobody else's business.
    appendFileSync(file, `\n${JSON.stringify(line)}`, { mode: 0o600 })
    read(line)
  }

  try {
    for (const line of linesOf(file)) read(line)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (!requestId) write({ requestId: randomUUID() })
  } catch (cause) {
    throw new CliError(
      EXIT.usage,
      `cannot keep what was done in ${folder}: ${(cause as Error).message}`,
      'set XDG_STATE_HOME to a folder that can be written',
      { cause },
    )
  }
  return {
    requestId,
    batchId: () => batchId,
    uploads: () => uploads,
    refused: () => [...refused.values()],
    addUpload: write,
    addRefused: write,
    setBatch: (id) => write({ batchId: id }),
    remove: () => rmSync(file, { force: true }),
  }
}

/** Without those that were cut short. */
function linesOf(file: string): Line[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  return text.split('\n').flatMap((line) => {
    try {
      return line ? [JSON.parse(line) as Line] : []
    } catch {
      return []
    }
  })
}
