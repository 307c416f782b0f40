import type { CanonicalText } from './canonical.ts'
import type { BlockKind } from './extracted.ts'
import type { Draft } from './pdf-layout.ts'
import { headingLevel } from './text.ts'

export interface DraftPage {
  readonly width: number
  readonly height: number
  readonly drafts: readonly Draft[]
}

const headingGrowth = 1.12
const maxHeadingChars = 200
const maxBoldHeadingChars = 100
const maxLevels = 6
/** Share of the page's height at the top and the bottom where running headers and footers stand. */
const edgeShare = 0.1
/** Of a table of contents. */
const leaders = /(?:\. ?){5}|…{2}|_{5}/
/** Among the keys of edges. */
const pageNumber = /^\w+ \d+ (?:#|[ivxl]+)$/i
const listMark = /^(?:[-–•*·‣▪○●]|[a-z]\)|\(?[ivxl]{1,5}\)|\(?\d{1,3}\))\s+/i

/** Tells headings, list items and running headers and footers apart over the document, and writes all. */
export function writePages(pages: readonly DraftPage[], canonical: CanonicalText): void {
  const sizes = sizeLevels(pages)
  const edges = runningEdges(pages)
  for (const [index, { width, height, drafts }] of pages.entries()) {
    if (index > 0) canonical.pageBreak()
    canonical.pageSize(width, height)
    for (const draft of drafts) {
      const edge = edgeKey(draft, height)
      const { kind, level } = edge && edges.has(edge.key) ? { kind: edge.kind } : classify(draft, sizes)
      if (draft.cells && kind === 'table_row') canonical.addRow(draft.cells, rounded(draft.box))
      else canonical.add(kind, draft.text, { level, box: rounded(draft.box) })
    }
  }
}

function classify(draft: Draft, { levels, body }: Sizes): { kind: BlockKind; level?: number } {
  const { text, cells, bold, lines } = draft
  if (cells) return { kind: 'table_row' }
  if (leaders.test(text)) return { kind: 'paragraph' }
  const bySize = levels.get(bucket(draft.size))
  if (bySize !== undefined && text.length <= maxHeadingChars) return { kind: 'heading', level: bySize }
  const named = lines <= 2 && !listMark.test(text) ? headingLevel(text) : undefined
  const isTitle = named !== undefined && (bold || draft.size >= body * 0.9)
  const isBold = bold && lines <= 2 && text.length <= maxBoldHeadingChars && !/[.;,:]$/.test(text)
  if (isTitle || (isBold && /\p{L}{3}/u.test(text))) {
    const above = new Set(levels.values()).size
    return { kind: 'heading', level: Math.min(maxLevels, above + (named ?? 1)) }
  }
  return { kind: listMark.test(text) ? 'list_item' : 'paragraph' }
}

interface Sizes {
  readonly body: number
  /** Heading level by size, for sizes well above the body's. */
  readonly levels: ReadonlyMap<number, number>
}

const bucket = (size: number) => Math.round(size * 2) / 2

/** The size of most characters is the body's; larger ones are headings, the largest being level 1. */
function sizeLevels(pages: readonly DraftPage[]): Sizes {
  const chars = new Map<number, number>()
  for (const { drafts } of pages) {
    for (const { size, text } of drafts) chars.set(bucket(size), (chars.get(bucket(size)) ?? 0) + text.length)
  }
  const [body = 0] = [...chars].reduce((most, entry) => (entry[1] > most[1] ? entry : most), [0, 0])
  const larger = [...chars.keys()].filter((size) => size >= body * headingGrowth).sort((a, b) => b - a)
  return { body, levels: new Map(larger.map((size, index) => [size, Math.min(maxLevels, index + 1)])) }
}

/** Position and text without its numbers, for blocks near the top or the bottom. */
function edgeKey(
  { box, text }: Draft,
  height: number,
): { kind: 'header' | 'footer'; key: string } | undefined {
  const isTop = box.y + box.height <= height * edgeShare
  if (!isTop && box.y < height * (1 - edgeShare)) return undefined
  const kind = isTop ? 'header' : 'footer'
  return { kind, key: `${kind} ${Math.round(box.y / 3)} ${text.replace(/\d+/g, '#')}` }
}

/** Edges that two pages of few or three of many repeat, and page numbers. */
function runningEdges(pages: readonly DraftPage[]): ReadonlySet<string> {
  const counts = new Map<string, number>()
  for (const { drafts, height } of pages) {
    const keys = new Set(
      drafts.map((draft) => edgeKey(draft, height)?.key).filter((key) => key !== undefined),
    )
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  const needed = Math.min(3, Math.max(2, pages.length / 3))
  return new Set(
    [...counts].flatMap(([key, count]) => (count >= needed || pageNumber.test(key) ? [key] : [])),
  )
}

function rounded(box: Draft['box']): Draft['box'] {
  const round = (value: number) => Math.round(value * 100) / 100
  return { x: round(box.x), y: round(box.y), width: round(box.width), height: round(box.height) }
}
