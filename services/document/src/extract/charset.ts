import chardet from 'chardet'
import iconv from 'iconv-lite'

const boms: readonly (readonly [string, readonly number[]])[] = [
  ['utf-8', [0xef, 0xbb, 0xbf]],
  ['utf-16le', [0xff, 0xfe]],
  ['utf-16be', [0xfe, 0xff]],
]

/** Bytes looked at to guess; detection cost does not grow with the file. */
const sampleBytes = 64 * 1024
/** A guess this much better than Windows-1252 is needed to leave it: short Portuguese texts resemble many tables. */
const margin = 10

export interface Decoded {
  readonly text: string
  readonly charset: string
}

export function byteOrderMark(bytes: Uint8Array): string | undefined {
  return boms.find(([, mark]) => mark.every((byte, index) => bytes[index] === byte))?.[0]
}

/** Decodes by byte order mark, else as declared, else as UTF-8 when valid, else by the most likely charset. */
export function decode(bytes: Buffer, declared?: string): Decoded {
  const mark = byteOrderMark(bytes)
  if (mark) return { text: iconv.decode(bytes, mark), charset: mark }
  const named = declared?.trim().toLowerCase()
  if (named && !/^utf-?8$/.test(named) && iconv.encodingExists(named)) {
    return { text: iconv.decode(bytes, named), charset: named }
  }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), charset: 'utf-8' }
  } catch {
    const charset = guess(bytes)
    return { text: iconv.decode(bytes, charset), charset }
  }
}

function guess(bytes: Buffer): string {
  const firstHigh = bytes.findIndex((byte) => byte > 0x7f)
  const from = Math.max(0, firstHigh - sampleBytes / 2)
  const sample = bytes.subarray(from, from + sampleBytes)
  const matches = chardet.analyse(sample).filter(({ name }) => name !== 'UTF-8' && iconv.encodingExists(name))
  const best = matches.find(({ name }) => !iconv.decode(sample, name).includes('\ufffd'))
  const western = matches.find(({ name }) => name === 'windows-1252' || name === 'ISO-8859-1')
  const isWestern = !best || best === western || best.confidence - (western?.confidence ?? 0) < margin
  return isWestern ? 'windows-1252' : best.name.toLowerCase()
}
