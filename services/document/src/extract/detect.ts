import { extname } from 'node:path'
import { byteOrderMark, decode } from './charset.ts'
import { docxMediaType } from './docx.ts'
import { ExtractionError, type Hints } from './extracted.ts'
import { openZip } from './zip.ts'

export type MediaType =
  | 'application/pdf'
  | typeof docxMediaType
  | 'text/html'
  | 'text/markdown'
  | 'text/plain'

const ole = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]
/** Stream name that holds an OOXML file under a password, as OLE2 directories write it. */
const encryptedPackage = Buffer.from('EncryptedPackage', 'utf16le')

/** Types outside of the allow-list that people send, to say what they look like. */
const refused: readonly (readonly [string, string])[] = [
  ['\x89PNG', 'a PNG image'],
  ['\xff\xd8\xff', 'a JPEG image'],
  ['GIF8', 'a GIF image'],
  ['II*\0', 'a TIFF image'],
  ['MM\0*', 'a TIFF image'],
  ['BM', 'a BMP image'],
  ['RIFF', 'a RIFF image, sound or video'],
  ['\x7fELF', 'an executable'],
  ['MZ', 'an executable'],
  ['\xcf\xfa\xed\xfe', 'an executable'],
  ['\xca\xfe\xba\xbe', 'an executable'],
  ['\x1f\x8b', 'a gzip archive'],
  ['7z\xbc\xaf\x27\x1c', 'a 7-Zip archive'],
  ['Rar!', 'a RAR archive'],
  ['BZh', 'a bzip2 archive'],
  ['\xfd7zXZ', 'an xz archive'],
]
const refusedText: readonly (readonly [RegExp, string])[] = [
  [/^\{\\rtf/, 'an RTF document'],
  [/^%!PS/, 'a PostScript document'],
  [/^<\?xml(?![\s\S]*<(?:html|body)[\s>])/i, 'an XML document'],
  [/^<svg[\s>]/i, 'an SVG image'],
]
const zipStarts = ['PK\x03\x04', 'PK\x05\x06', 'PK\x07\x08']
const sniffBytes = 1024
/** Some writers put a line before the PDF header; readers accept it within the first kilobyte. */
const pdfHeader = /%PDF-\d/
// Each comment ends at the first `-->`: with a choice of ends, a few dozen comments would take hours to try.
const htmlStart =
  /^(?:<!--(?:(?!-->)[\s\S]){0,500}-->|<\?xml[^>]*>|\s)*<(?:!doctype html|html|head|body|title|meta)\b/i

/**
 * Tells the type by content. Hints only tell HTML, Markdown and plain text apart.
 * Errors: empty, unsupported_type (with what it looks like), encrypted, damaged, inflation_limit.
 */
export async function detect(bytes: Buffer, hints: Hints = {}): Promise<MediaType> {
  if (bytes.length === 0) throw new ExtractionError('empty')
  const head = bytes.subarray(0, sniffBytes).toString('latin1')
  if (ole.every((byte, index) => bytes[index] === byte)) {
    if (bytes.includes(encryptedPackage)) throw new ExtractionError('encrypted')
    throw unsupported('a legacy Office document; save it as DOCX or PDF')
  }
  if (zipStarts.some((start) => head.startsWith(start))) return detectZip(bytes)
  const binary = byteOrderMark(bytes)?.startsWith('utf-16') ? undefined : refusedBinary(bytes, head)
  if (pdfHeader.test(head) && (!binary || head.startsWith('%PDF-'))) return 'application/pdf'
  if (binary) throw unsupported(binary)
  return detectText(bytes, hints)
}

const unsupported = (what: string) => new ExtractionError('unsupported_type', `it looks like ${what}`)

function refusedBinary(bytes: Buffer, head: string): string | undefined {
  const magic = refused.find(([start]) => head.startsWith(start))
  const readable = isReadable(bytes)
  // Two letters such as BM or MZ may well start a sentence.
  if (magic && (magic[0].length > 2 || !readable)) return magic[1]
  return readable ? undefined : 'binary data'
}

/** Text has no NUL and hardly any other control character. */
function isReadable(bytes: Buffer): boolean {
  if (bytes.includes(0)) return false
  const sample = bytes.subarray(0, 64 * 1024)
  const controls = sample.reduce(
    (count, byte) => count + (byte < 32 && !(byte >= 8 && byte <= 13) ? 1 : 0),
    0,
  )
  return controls <= sample.length / 100
}

async function detectZip(bytes: Buffer): Promise<MediaType> {
  const { names } = await openZip(bytes)
  const has = (prefix: string) => [...names].some((name) => name.startsWith(prefix))
  if (has('[Content_Types].xml') && has('word/')) return docxMediaType
  if (has('xl/')) throw unsupported('a spreadsheet')
  if (has('ppt/')) throw unsupported('a presentation')
  if (has('mimetype')) throw unsupported('an OpenDocument or EPUB file')
  throw unsupported('a ZIP archive')
}

function detectText(bytes: Buffer, { fileName = '', mediaType = '' }: Hints): MediaType {
  const start = decode(bytes.subarray(0, 64 * 1024)).text.trimStart()
  if (start === '' && decode(bytes).text.trim() === '') throw new ExtractionError('empty')
  const wrong = refusedText.find(([pattern]) => pattern.test(start))
  if (wrong) throw unsupported(wrong[1])
  if (htmlStart.test(start)) return 'text/html'
  const extension = extname(fileName).toLowerCase()
  const type = mediaType.split(';')[0]?.trim().toLowerCase()
  const saysHtml = /^\.x?html?$/.test(extension) || type === 'text/html'
  if (saysHtml && /<[a-z][^<>]*>/i.test(start)) return 'text/html'
  if (/^\.(?:md|markdown|mdown)$/.test(extension) || type === 'text/markdown') return 'text/markdown'
  return 'text/plain'
}
