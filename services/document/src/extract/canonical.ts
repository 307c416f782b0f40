import type {
  Block,
  BlockKind,
  Box,
  Extracted,
  ExtractionLimits,
  PageSpan,
  Signal,
  SignalKind,
} from './extracted.ts'
import { ExtractionError } from './extracted.ts'

const maxSignalsPerKind = 100
const maxDetailChars = 300

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export interface BlockOptions {
  readonly level?: number | undefined
  readonly box?: Box | undefined
  readonly preformatted?: boolean
}

export interface Span {
  readonly start: number
  readonly end: number
  readonly page: number
}

const control = /(?![\t\n\f])\p{Cc}|[\u00ad\ufeff]/gu

/**
 * NFC, `\n` line ends, no control characters, soft hyphens or byte order marks. Runs of blanks become one
 * space and runs of line ends one, unless preformatted. A form feed stays: it marks a page break.
 */
function normalise(raw: string, preformatted = false): string {
  const clean = raw
    .toWellFormed()
    .normalize('NFC')
    .replace(/\r\n?|[\u0085\u2028\u2029]/g, '\n')
    .replace(control, '')
  if (preformatted) return clean
  return clean
    .replace(/[^\S\n\f]+/g, ' ')
    .replace(/ ?\n[\n ]*/g, '\n')
    .replace(/ \f /g, ' \f')
}

const oneLine = (raw: string) =>
  normalise(raw)
    .replace(/[\n\f]/g, ' ')
    .trim()
const countBreaks = (text: string) => text.split('\f').length - 1

/** Collects blocks, pages and signals into one {@link Extracted} whose offsets hold by construction. */
export class CanonicalText {
  readonly #chunks: string[] = []
  readonly #blocks: Block[] = []
  readonly #pages: Mutable<PageSpan>[] = []
  readonly #signals: Signal[] = []
  readonly #signalCounts = new Map<SignalKind, number>()
  readonly #properties: Record<string, string> = {}
  readonly #limits: ExtractionLimits
  #length = 0
  #pendingPages = 0

  /** Errors of every method that adds: too_large, too_many_pages. */
  constructor(limits: ExtractionLimits) {
    this.#limits = limits
    this.#pages.push({ number: 1, start: 0, end: 0 })
  }

  /** Number of the page on which the next text starts. */
  get page(): number {
    return this.#pages.length + this.#pendingPages
  }

  get length(): number {
    return this.#length
  }

  /** The text that follows starts a new page. */
  pageBreak(): void {
    this.#pendingPages++
  }

  /** Size in points of the page on which the next text starts. */
  pageSize(width: number, height: number): void {
    this.#flushPages(this.#length)
    Object.assign(this.#lastPage(), { width, height })
  }

  /** Appends a block; form feeds in `raw` are page breaks. Returns undefined when there is nothing to read. */
  add(
    kind: BlockKind,
    raw: string,
    { level, box, preformatted = false }: BlockOptions = {},
  ): Span | undefined {
    const text = normalise(raw, preformatted)
    const first = text.length - text.trimStart().length
    const lineStart = preformatted ? text.slice(0, first).search(/[^\n\f]*$/) : first
    const body = text.slice(lineStart).trimEnd()
    this.#pendingPages += countBreaks(text.slice(0, lineStart))
    if (body === '') return undefined
    const start = this.#open()
    const page = this.#pages.length
    for (const [index, piece] of body.split('\f').entries()) {
      if (index > 0) this.#pendingPages++
      if (piece === '') continue
      this.#flushPages(this.#length)
      this.#append(piece)
    }
    this.#pendingPages += countBreaks(text.slice(lineStart + body.length))
    return this.#close({ kind, level, box }, start, page)
  }

  /** Appends a row as `table_row` and its cells as `table_cell`, separated by tabs. */
  addRow(cells: readonly string[], box?: Box): Span | undefined {
    const texts = cells.map((cell) => oneLine(cell.replaceAll('\f', '')))
    const breaks = countBreaks(cells.join(''))
    if (texts.every((text) => text === '')) {
      this.#pendingPages += breaks
      return undefined
    }
    const start = this.#open()
    const page = this.#pages.length
    const row = this.#blocks.length
    for (const [index, text] of texts.entries()) {
      if (index > 0) this.#append('\t')
      const cellStart = this.#length
      this.#append(text)
      this.#blocks.push({ kind: 'table_cell', start: cellStart, end: this.#length, page })
    }
    const cellBlocks = this.#blocks.splice(row)
    const span = this.#close({ kind: 'table_row', level: undefined, box }, start, page)
    this.#blocks.push(...cellBlocks)
    this.#pendingPages += breaks
    return span
  }

  signal(kind: SignalKind, detail: string, where: Partial<Span> = {}): void {
    const count = (this.#signalCounts.get(kind) ?? 0) + 1
    this.#signalCounts.set(kind, count)
    if (count > maxSignalsPerKind) return
    const clean = oneLine(detail)
    const { start, end, page } = where
    this.#signals.push({
      kind,
      detail: clean.length > maxDetailChars ? `${clean.slice(0, maxDetailChars - 1).toWellFormed()}…` : clean,
      ...(page === undefined ? {} : { page }),
      ...(start === undefined || end === undefined ? {} : { start, end }),
    })
  }

  property(name: string, value: string | undefined): void {
    const clean = oneLine(value ?? '')
    if (clean) this.#properties[name] = clean.slice(0, maxDetailChars).toWellFormed()
  }

  finish(mediaType: string, extractor: string): Extracted {
    this.#flushPages(this.#length)
    this.#lastPage().end = this.#length
    for (const [kind, count] of this.#signalCounts) {
      if (count > maxSignalsPerKind) this.property(`signals.${kind}`, String(count))
    }
    return {
      mediaType,
      text: this.#chunks.join(''),
      pages: this.#pages,
      blocks: this.#blocks,
      signals: this.#signals,
      properties: this.#properties,
      extractor,
    }
  }

  #open(): number {
    if (this.#length > 0) this.#append('\n\n')
    this.#flushPages(this.#length)
    return this.#length
  }

  #close(
    { kind, level, box }: { kind: BlockKind; level: number | undefined; box: Box | undefined },
    start: number,
    page: number,
  ): Span {
    const end = this.#length
    this.#blocks.push({
      kind,
      start,
      end,
      page,
      ...(level === undefined ? {} : { level }),
      ...(box === undefined ? {} : { box }),
    })
    return { start, end, page }
  }

  #append(part: string): void {
    this.#length += part.length
    if (this.#length > this.#limits.maxTextChars) {
      throw new ExtractionError('too_large', `more than ${this.#limits.maxTextChars} characters of text`)
    }
    this.#chunks.push(part)
  }

  #flushPages(offset: number): void {
    if (this.page > this.#limits.maxPages) {
      throw new ExtractionError('too_many_pages', `more than ${this.#limits.maxPages}`)
    }
    for (; this.#pendingPages > 0; this.#pendingPages--) {
      this.#lastPage().end = offset
      this.#pages.push({ number: this.#pages.length + 1, start: offset, end: offset })
    }
  }

  #lastPage(): Mutable<PageSpan> {
    return this.#pages[this.#pages.length - 1] as Mutable<PageSpan>
  }
}
