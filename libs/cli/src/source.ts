import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { EXIT } from './exit-codes.ts'
import { CliError } from './failure.ts'
import { type Io, readAll } from './io.ts'
import { plain } from './render/text.ts'

const CHUNK_BYTES = 64 * 1024

/** A document that can be read more than once: for its checksum, for the upload, and from the middle to resume one. */
export interface Source {
  readonly name: string
  readonly sizeBytes: number
  /** Hexadecimal. */
  readonly sha256: string
  /** The bytes from `offset` on, in chunks of at most 64 KiB. */
  read(offset: number): AsyncIterable<Uint8Array>
}

type Input = Pick<Io, 'stdin' | 'signal'>

/**
 * Opens a file, or standard input for `-`. @throws CliError when it cannot be read, and the reason of the signal when that
 * aborts while nothing comes.
 */
export async function openSource(file: string, input: Input): Promise<Source> {
  return file === '-' ? inMemory('stdin', await readAll(input)) : openFile(file, input)
}

function inMemory(name: string, bytes: Buffer): Source {
  return {
    name,
    sizeBytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    async *read(offset) {
      for (let at = offset; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES)
    },
  }
}

async function openFile(file: string, { signal }: Input): Promise<Source> {
  const name = basename(file)
  try {
    const found = await stat(file)
    if (found.isDirectory())
      throw new CliError(
        EXIT.document,
        `${plain(file)} is a folder`,
        'name the files in it, for example docs/*.pdf',
      )
    // A pipe gives what it has only once.
    if (found.isFIFO()) return inMemory(name, await readAll({ stdin: createReadStream(file), signal }))
    const hash = createHash('sha256')
    let sizeBytes = 0
    for await (const chunk of bytesOf(file, 0)) {
      hash.update(chunk)
      sizeBytes += chunk.length
    }
    return { name, sizeBytes, sha256: hash.digest('hex'), read: (offset) => bytesOf(file, offset) }
  } catch (error) {
    throw error instanceof CliError || signal.aborted ? error : unreadable(file, error)
  }
}

async function* bytesOf(file: string, start: number): AsyncIterable<Uint8Array> {
  try {
    yield* createReadStream(file, { start, highWaterMark: CHUNK_BYTES })
  } catch (error) {
    throw unreadable(file, error)
  }
}

function unreadable(file: string, cause: unknown): CliError {
  const { code } = cause as NodeJS.ErrnoException
  const why =
    code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'permission denied' : String(code)
  return new CliError(EXIT.document, `cannot read ${plain(file)}: ${why}`, 'check the path', { cause })
}
