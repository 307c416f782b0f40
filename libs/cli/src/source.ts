import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { EXIT } from './exit-codes.ts'
import { CliError } from './failure.ts'

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

/** Opens a file, or standard input for `-`. @throws CliError when it cannot be read. */
export async function openSource(file: string, stdin: AsyncIterable<Uint8Array>): Promise<Source> {
  return file === '-' ? openStdin(stdin) : openFile(file)
}

async function openStdin(stdin: AsyncIterable<Uint8Array>): Promise<Source> {
  const bytes = Buffer.concat(await Array.fromAsync(stdin))
  return {
    name: 'stdin',
    sizeBytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    async *read(offset) {
      for (let at = offset; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES)
    },
  }
}

async function openFile(file: string): Promise<Source> {
  try {
    const found = await stat(file)
    if (found.isDirectory())
      throw new CliError(EXIT.document, `${file} is a folder`, 'name the files in it, for example docs/*.pdf')
    const read = (start: number): AsyncIterable<Uint8Array> =>
      createReadStream(file, { start, highWaterMark: CHUNK_BYTES })
    const hash = createHash('sha256')
    let sizeBytes = 0
    for await (const chunk of read(0)) {
      hash.update(chunk)
      sizeBytes += chunk.length
    }
    return { name: basename(file), sizeBytes, sha256: hash.digest('hex'), read }
  } catch (error) {
    if (error instanceof CliError) throw error
    const { code } = error as NodeJS.ErrnoException
    const why =
      code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'permission denied' : String(code)
    throw new CliError(EXIT.document, `cannot read ${file}: ${why}`, 'check the path', { cause: error })
  }
}
