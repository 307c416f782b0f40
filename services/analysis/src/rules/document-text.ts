/** What the rules read: the canonical text of one document version. Offsets are UTF-16 units, end exclusive. */
export interface PageSpan {
  readonly number: number
  readonly start: number
  readonly end: number
}

/** Points, origin at the top left of the page. */
export interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** `kind`: heading | paragraph | list_item | table_row | table_cell | header | footer | code | quote. */
export interface Block {
  readonly kind: string
  readonly level?: number
  readonly start: number
  readonly end: number
  readonly page: number
  readonly box?: Box
}

export const SIGNAL_KINDS = [
  'javascript',
  'open_action',
  'embedded_file',
  'hidden_text',
  'external_reference',
  'macro',
  'comment',
  'tracked_change',
  'form_field',
  'signature',
] as const

/** Something the extractor saw beside the text; `kind` is one of SIGNAL_KINDS. */
export interface Signal {
  readonly kind: string
  readonly detail: string
  readonly page?: number
  readonly start?: number
  readonly end?: number
}

export interface DocumentText {
  readonly mediaType: string
  readonly text: string
  readonly pages: readonly PageSpan[]
  readonly blocks: readonly Block[]
  readonly signals: readonly Signal[]
  readonly properties: Readonly<Record<string, string>>
}

export interface Span {
  readonly start: number
  readonly end: number
}
