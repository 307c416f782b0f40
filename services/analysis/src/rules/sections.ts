import type { Block, DocumentText, Span } from './document-text.ts'
import { foldText } from './fold.ts'
import { parseClauseNumber } from './number-words.ts'

/** A heading (a block, or a line that reads like one) and what follows it. */
export interface Section {
  readonly title: string
  readonly titleSpan: Span
  readonly level: number
  /** The extractor marked it as a heading; otherwise its wording says so. */
  readonly marked: boolean
  readonly number?: string
  /** Up to the next heading of the same or a higher level. */
  readonly body: Span
  readonly foldedTitle: string
}

export interface Outline {
  readonly sections: readonly Section[]
  /** Numbers that clauses, sections and numbered paragraphs carry. */
  readonly numbers: ReadonlySet<string>
}

const CLAUSE =
  /^(?:cl[áa]usula|clause|se[çc][ãa]o|section|artigo|article|cap[íi]tulo|chapter)\s+(?<number>[\p{L}\d]+(?:\.\d+)*[ªº°]?(?:[\s-]+\p{L}+){0,2}?)\s*(?:[-–—:.)]+|$)\s*/imu
const NUMBERED =
  /^(?<number>\d{1,3}(?:\.\d{1,3}){1,4}(?=[.)]?\s)|\d{1,3}(?=[.)]\s|\s?[-–—]\s))[.)]?(?:\s?[-–—])?\s+(?=\p{L})/u
const TITLE_END = /[:.;\n]/
const MAX_TITLE = 100
const CLAUSE_LEVEL = 2

/** A document without blocks is read line by line. */
const blocksOf = ({ blocks, text }: DocumentText): readonly Block[] =>
  blocks.length > 0
    ? blocks
    : [...text.matchAll(/\S[^\n]*/g)].map((line) => ({
        kind: 'paragraph',
        start: line.index,
        end: line.index + line[0].length,
        page: 1,
      }))

interface Opening {
  readonly span: Span
  readonly level: number
  readonly marked: boolean
  readonly number?: string
}

const opening = (block: Block, text: string, numbered: boolean): Opening | { number?: string } => {
  const content = text.slice(block.start, Math.min(block.end, block.start + 400))
  const clause = CLAUSE.exec(content)
  const figures = NUMBERED.exec(content)
  const number = clause === null ? figures?.groups?.number : parseClauseNumber(clause.groups?.number ?? '')
  const carried = number === undefined ? {} : { number }
  if (block.kind === 'heading') {
    const span = { start: block.start, end: block.end }
    return { span, level: block.level ?? 1, marked: true, ...carried }
  }
  if (number === undefined || block.kind !== 'paragraph') return carried
  const lead = (clause ?? figures)?.[0].length ?? 0
  const rest = content.slice(lead)
  const cut = TITLE_END.exec(rest)?.index ?? rest.length
  const short = cut <= MAX_TITLE && (clause !== null || (numbered && rest.slice(cut).trim().length <= 1))
  if (!short) return carried
  const level = clause === null ? CLAUSE_LEVEL + number.split('.').length - 1 : CLAUSE_LEVEL
  return { span: { start: block.start, end: block.start + lead + cut }, level, marked: false, ...carried }
}

export const outline = (document: DocumentText): Outline => {
  const blocks = blocksOf(document)
  const numbered = blocks.filter(({ kind }) => kind === 'heading').length < 2
  const openings: Opening[] = []
  const numbers = new Set<string>()
  for (const block of blocks) {
    if (block.kind === 'header' || block.kind === 'footer' || block.kind === 'code') continue
    const found = opening(block, document.text, numbered)
    if (found.number !== undefined) numbers.add(found.number)
    if ('span' in found) openings.push(found)
  }
  const ends = new Array<number>(openings.length)
  const open: number[] = []
  openings.forEach((entry, index) => {
    while ((openings[open.at(-1) ?? -1]?.level ?? -1) >= entry.level) ends[open.pop() ?? 0] = entry.span.start
    open.push(index)
  })
  const sections = openings.map(({ span, level, marked, number }, index): Section => {
    const title = document.text.slice(span.start, span.end)
    return {
      title,
      titleSpan: span,
      level,
      marked,
      ...(number !== undefined && { number }),
      body: { start: span.end, end: ends[index] ?? document.text.length },
      foldedTitle: foldText(title),
    }
  })
  return { sections, numbers }
}
