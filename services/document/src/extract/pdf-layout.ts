import type { Box } from './extracted.ts'
import { type Segment, union } from './pdf-page.ts'

/** A block of one page, before headings and page edges are told apart across the document. */
export interface Draft {
  readonly lines: number
  readonly text: string
  readonly box: Box
  readonly size: number
  readonly bold: boolean
  /** Of a table row. */
  readonly cells?: readonly string[]
}

interface Line {
  readonly segments: readonly Segment[]
  readonly text: string
  readonly box: Box
  readonly size: number
  readonly base: number
  readonly bold: boolean
  readonly hyphenated: boolean
}

/** Starts of paragraphs that follow each other without space: clauses, articles, items. */
const opensBlock =
  /^(?:[-–•*·‣▪○●]\s|§|art(?:igo)?\.?\s*\d|par[áa]grafo\s|cl[áa]usula\s|\(?\d{1,3}(?:\.\d{1,3})*[.)ºª]?\)?\s+\S|[a-z]\)\s|[IVXL]{1,5}\s*[-–)]\s)/i
/** Portuguese pronouns keep their hyphen at a line end: "deve-" + "se". */
const enclitic = /^(?:se|me|te|lhes?|n?[oa]s?|l[oa]s?|[nv]os|ão|á|ei|emos|iam?)\b/i
/** In multiples of the size: how far cells of a column may be off, and rows apart. */
const alignment = 0.7
const maxRowPitch = 4
const endsSentence = /[.:;!?]["”)]?$/

/** Groups the segments of a page, in reading order, into lines, paragraphs and table rows. */
export function layOut(segments: readonly Segment[]): Draft[] {
  const lines = toLines(segments)
  const rows = tableRows(lines)
  const pitch = typicalPitch(lines)
  const drafts: Draft[] = []
  let group: Line[] = []
  const flush = () => {
    if (group.length > 0) drafts.push(paragraph(group))
    group = []
  }
  for (const line of lines) {
    const cells = rows.get(line)
    if (cells) {
      flush()
      const { text, box, size, bold } = line
      drafts.push({ lines: 1, text, box, size, bold, cells })
      continue
    }
    if (!joins(group, line, pitch)) flush()
    group.push(line)
  }
  flush()
  return drafts
}

function toLines(segments: readonly Segment[]): Line[] {
  const groups: Segment[][] = []
  for (const segment of segments) {
    const group = groups.at(-1)
    const last = group?.at(-1)
    const isSame =
      last && verticalOverlap(last.box, segment.box) > 0.5 && segment.box.x >= last.box.x + last.box.width
    if (isSame) group?.push(segment)
    else groups.push([segment])
  }
  return groups.map((group) => ({
    segments: group,
    text: group.map((segment) => segment.text).join(' '),
    box: group.map((segment) => segment.box).reduce(union),
    size: longest(group).size,
    base: longest(group).base,
    bold: group.every((segment) => segment.bold),
    hyphenated: group.at(-1)?.hyphenated ?? false,
  }))
}

const longest = <T extends { readonly text: string }>(parts: readonly T[]) =>
  parts.reduce((best, part) => (part.text.length > best.text.length ? part : best))

/** Share of the lower box's height both have in common. */
export function verticalOverlap(a: Box, b: Box): number {
  const common = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y)
  return common / Math.max(1, Math.min(a.height, b.height))
}

/**
 * Rows by line: lines of two cells or more whose neighbour has as many, aligned left or right in two columns at
 * least. A shorter line after a row joins it when its cells stand in columns of the row; the others are empty.
 */
function tableRows(lines: readonly Line[]): ReadonlyMap<Line, readonly string[]> {
  const rows = new Map<Line, readonly string[]>()
  let columns: readonly Segment[] = []
  for (const [index, line] of lines.entries()) {
    const above = lines[index - 1]
    const below = lines[index + 1]
    const follows = above !== undefined && rows.has(above) && areNear(above, line)
    if ((below && areAligned(line, below)) || (follows && above && areAligned(above, line))) {
      columns = line.segments
      rows.set(
        line,
        columns.map(({ text }) => text),
      )
    } else if (follows && line.segments.length > 1) {
      const found = line.segments.map((segment) => columns.findIndex((column) => inColumn(column, segment)))
      const cells = columns.map((_, column) => line.segments[found.indexOf(column)]?.text ?? '')
      if (new Set(found).size === found.length && !found.includes(-1)) rows.set(line, cells)
    }
  }
  return rows
}

function areAligned(a: Line, b: Line): boolean {
  if (a.segments.length < 2 || a.segments.length !== b.segments.length || !areNear(a, b)) return false
  const aligned = a.segments.filter((segment, index) => {
    const other = b.segments[index]
    return other !== undefined && inColumn(segment, other)
  })
  return aligned.length >= 2
}

function inColumn({ box, size }: Segment, other: Segment): boolean {
  const left = Math.abs(other.box.x - box.x)
  const right = Math.abs(other.box.x + other.box.width - box.x - box.width)
  return Math.min(left, right) <= alignment * size
}

const areNear = (above: Line, below: Line) => Math.abs(pitchOf(above, below)) <= maxRowPitch * above.size
const pitchOf = (above: Line, below: Line) => below.base - above.base

/** Lower quartile of the distances between lines: the pitch inside paragraphs, not between them. */
function typicalPitch(lines: readonly Line[]): number {
  const pitches = lines
    .slice(1)
    .map((line, index) => pitchOf(lines[index] as Line, line) / line.size)
    .filter((pitch) => pitch > 0.6 && pitch < 2.5)
    .sort((a, b) => a - b)
  return pitches[Math.floor(pitches.length / 4)] ?? 1.2
}

function joins(group: readonly Line[], line: Line, pitch: number): boolean {
  const last = group.at(-1)
  const first = group[0]
  if (!last || !first) return true
  const distance = pitchOf(last, line) / line.size
  const left = Math.min(...group.map(({ box }) => box.x))
  const right = Math.max(...group.map(({ box }) => box.x + box.width))
  const isShort = last.box.x + last.box.width < right - 0.15 * (right - left)
  return (
    Math.abs(last.size - line.size) <= 0.1 * line.size &&
    last.bold === line.bold &&
    distance > 0.5 &&
    distance <= Math.min(2.3, pitch * 1.2) &&
    line.box.x < right &&
    line.box.x + line.box.width > left &&
    !opensBlock.test(line.text) &&
    !(group.length > 1 && line.box.x > last.box.x + line.size && last.box.x <= left + 1) &&
    !(isShort && endsSentence.test(last.text))
  )
}

function paragraph(lines: readonly Line[]): Draft {
  let text = ''
  for (const [index, line] of lines.entries()) {
    const above = lines[index - 1]
    if (!above) text = line.text
    else if (above.text.endsWith('-') && /^\p{Ll}/u.test(line.text)) {
      const splits = above.hyphenated && !enclitic.test(line.text)
      text = (splits ? text.slice(0, -1) : text) + line.text
    } else text += ` ${line.text}`
  }
  return {
    lines: lines.length,
    text,
    box: lines.map((line) => line.box).reduce(union),
    size: longest(lines).size,
    bold: lines.every((line) => line.bold),
  }
}
