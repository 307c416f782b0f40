import { CanonicalText } from './canonical.ts'
import { decode } from './charset.ts'
import { type Extracted, ExtractionError, type ExtractionLimits } from './extracted.ts'

const maxHeadingChars = 100
const numbered = /^(\d{1,3}(?:\.\d{1,3}){0,4})(?:\.|\s*[-–—)])?\s+(?=\p{Lu})/u
const named =
  /^(?:cláusula|clausula|capítulo|capitulo|seção|secao|título|titulo|anexo|artigo|art\.|clause|chapter|section|article|annex|appendix)\s+[\p{L}\d]{1,20}/iu
const listMark = /^(?:[-*•‣◦·]|[a-z]\)|[ivxl]{1,5}\)|\(?\d{1,3}\))\s+/i

/** Paragraphs are split at blank lines; a heading, a list item and a form feed end one too. */
export function extractText(bytes: Buffer, limits: ExtractionLimits): Extracted {
  const { text, charset } = decode(bytes)
  const canonical = new CanonicalText(limits)
  canonical.property('charset', charset)
  for (const [index, page] of text.replace(/\r\n?/g, '\n').split('\f').entries()) {
    if (index > 0) canonical.pageBreak()
    readPage(page, canonical)
  }
  const extracted = canonical.finish('text/plain', 'text/1')
  if (extracted.text === '') throw new ExtractionError('empty')
  return extracted
}

function readPage(page: string, canonical: CanonicalText): void {
  let lines: string[] = []
  let isItem = false
  const flush = () => {
    canonical.add(isItem ? 'list_item' : 'paragraph', lines.join('\n'))
    lines = []
    isItem = false
  }
  for (const raw of page.split('\n')) {
    const line = raw.trim()
    const level = line === '' ? undefined : headingLevel(line)
    if (line === '') flush()
    else if (level !== undefined) {
      flush()
      canonical.add('heading', line, { level })
    } else {
      const item = listMark.test(line)
      if (item) flush()
      isItem ||= item
      lines.push(line)
    }
  }
  flush()
}

/** Level of a line that reads as a heading: "CLÁUSULA PRIMEIRA – DO PREÇO", "2.1. DO PRAZO", "ANEXO I". */
export function headingLevel(line: string): number | undefined {
  if (line.length > maxHeadingChars) return undefined
  const upper = isUpper(line)
  const number = numbered.exec(line)?.[1]
  if (number) {
    const isTitle = upper || (!/[.;:,]$/.test(line) && line.length <= 60)
    return isTitle ? number.split('.').length : undefined
  }
  if (named.test(line)) return upper || /^[^.;,]{1,60}$/.test(line) ? 1 : undefined
  return upper && !/[;,]$/.test(line) ? 1 : undefined
}

/** Has words, all in capitals; a tax number, an amount or an abbreviation is not a heading. */
function isUpper(line: string): boolean {
  const letters = line.match(/\p{L}/gu)?.length ?? 0
  return letters >= 4 && letters >= line.length / 2 && line === line.toUpperCase() && /\p{Lu}{3}/u.test(line)
}
