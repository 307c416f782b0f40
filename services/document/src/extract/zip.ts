import type { Readable } from 'node:stream'
import type { Entry } from 'yauzl'
import yauzl from 'yauzl'
import { ExtractionError } from './extracted.ts'

export interface ZipLimits {
  readonly maxEntries: number
  readonly maxEntryBytes: number
  readonly maxTotalBytes: number
  /** Inflated over stored; looked at from {@link ZipLimits.ratioFromBytes} on, so that tiny entries may be dense. */
  readonly maxRatio: number
  readonly ratioFromBytes: number
}

const MiB = 1024 * 1024

export const zipLimits: ZipLimits = {
  maxEntries: 10_000,
  maxEntryBytes: 64 * MiB,
  maxTotalBytes: 256 * MiB,
  maxRatio: 100,
  ratioFromBytes: MiB,
}

export interface Zip {
  readonly names: ReadonlySet<string>
  /** Inflates one entry, counting. Nothing when there is no such entry. */
  read(name: string): AsyncIterable<Buffer>
}

/** Reads the central directory only. Errors: damaged, encrypted, inflation_limit. */
export async function openZip(bytes: Buffer, limits: ZipLimits = zipLimits): Promise<Zip> {
  const entries = new Map<string, Entry>()
  try {
    const file = await yauzl.fromBufferPromise(bytes, { lazyEntries: true, autoClose: false })
    if (file.entryCount > limits.maxEntries) throw new ExtractionError('inflation_limit', 'too many entries')
    for await (const entry of file.eachEntry()) {
      if (entry.isEncrypted()) throw new ExtractionError('encrypted')
      if (entries.has(entry.fileName)) throw new ExtractionError('damaged', 'an entry occurs twice')
      entries.set(entry.fileName, entry)
      if (entries.size > limits.maxEntries) throw new ExtractionError('inflation_limit', 'too many entries')
    }
    let total = 0
    return {
      names: new Set(entries.keys()),
      async *read(name) {
        const entry = entries.get(name)
        if (!entry) return
        let inflated = 0
        for await (const chunk of await open(file, entry)) {
          inflated += chunk.length
          total += chunk.length
          const dense = inflated > limits.ratioFromBytes && inflated > limits.maxRatio * entry.compressedSize
          if (dense || inflated > limits.maxEntryBytes || total > limits.maxTotalBytes) {
            throw new ExtractionError('inflation_limit')
          }
          yield chunk
        }
      },
    }
  } catch (error) {
    throw asDamaged(error)
  }
}

async function* open(file: yauzl.ZipFile, entry: Entry): AsyncIterable<Buffer> {
  let stream: Readable | undefined
  try {
    stream = await file.openReadStreamPromise(entry)
    yield* stream as AsyncIterable<Buffer>
  } catch (error) {
    throw asDamaged(error)
  } finally {
    stream?.destroy()
  }
}

function asDamaged(error: unknown): ExtractionError {
  return error instanceof ExtractionError
    ? error
    : new ExtractionError('damaged', 'not a readable ZIP container')
}
