/** Start inclusive, end exclusive, in UTF-16 code units of the text. Width and height in points. */
export interface PageSpan {
  readonly number: number
  readonly start: number
  readonly end: number
  readonly width?: number
  readonly height?: number
}

export type BlockKind =
  | 'heading'
  | 'paragraph'
  | 'list_item'
  | 'table_row'
  | 'table_cell'
  | 'header'
  | 'footer'
  | 'code'
  | 'quote'

/** Points, origin at the top left of the page as it is shown. */
export interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** `text.slice(start, end)` is exactly the block's text. A `table_row` is followed by its `table_cell`s. */
export interface Block {
  readonly kind: BlockKind
  readonly level?: number
  readonly start: number
  readonly end: number
  readonly page: number
  readonly box?: Box
}

export type SignalKind =
  | 'javascript'
  | 'open_action'
  | 'embedded_file'
  | 'hidden_text'
  | 'external_reference'
  | 'macro'
  | 'comment'
  | 'tracked_change'
  | 'form_field'
  | 'signature'

/** Something a reader of the text would not see. `start` and `end` name the block it was found in, if any. */
export interface Signal {
  readonly kind: SignalKind
  readonly detail: string
  readonly page?: number
  readonly start?: number
  readonly end?: number
}

/**
 * The canonical text of a document: NFC, line ends `\n`, no control characters; blocks are separated by a
 * blank line, the cells of a row by a tab. Pages tile the text: each ends where the next starts.
 * Text that is certainly hidden is not in `text`; it is quoted in a `hidden_text` signal.
 */
export interface Extracted {
  readonly mediaType: string
  readonly text: string
  readonly pages: readonly PageSpan[]
  readonly blocks: readonly Block[]
  readonly signals: readonly Signal[]
  readonly properties: Readonly<Record<string, string>>
  readonly extractor: string
}

/** What the client says about a file; never trusted for binary content. */
export interface Hints {
  readonly fileName?: string | undefined
  readonly mediaType?: string | undefined
}

export interface ExtractionLimits {
  readonly maxBytes: number
  readonly maxPages: number
  readonly maxTextChars: number
}

export const defaultLimits: ExtractionLimits = {
  maxBytes: 50 * 1024 * 1024,
  maxPages: 2_000,
  maxTextChars: 20_000_000,
}

const advice = {
  unsupported_type:
    'This type of file is not supported. Send a PDF, DOCX, HTML, Markdown or plain text file.',
  empty: 'The file is empty. Send the file again, with its content.',
  encrypted: 'The file is protected by a password. Remove the protection and send it again.',
  damaged: 'The file is damaged or cut short. Open it, save it again and send the new copy.',
  no_text:
    'The file has no text layer: it looks scanned, and text recognition (OCR) is not available yet. Send the original file or a searchable copy.',
  too_large: 'The file is too large. Split it and send the parts.',
  too_many_pages: 'The file has too many pages. Split it and send the parts.',
  inflation_limit:
    'The file expands far beyond its size, as a decompression bomb does. Open it, save it again and send the new copy.',
  time_limit: 'Reading the file took too long. Simplify it or split it and send the parts.',
  memory_limit: 'Reading the file took too much memory. Simplify it or split it and send the parts.',
  crashed: 'The file made the reader stop. Open it, export it again and send the new copy.',
} as const

export type ExtractionFailure = keyof typeof advice

/** Why a document has no text; the message says what its owner can do. */
export class ExtractionError extends Error {
  override readonly name = 'ExtractionError'
  readonly failure: ExtractionFailure
  readonly detail: string | undefined

  constructor(failure: ExtractionFailure, detail?: string) {
    super(detail ? `${advice[failure]} (${detail})` : advice[failure])
    this.failure = failure
    this.detail = detail
  }
}
