import { verticalOverlap } from './pdf-layout.ts'
import type { Segment } from './pdf-page.ts'

const minColumnLines = 4
const minColumnChars = 15

/**
 * Reading order. Writers mostly emit text as it is read, so content order stands unless text goes back up over
 * text of the same column; then the page is cut at white space, columns first (recursive XY cut, Nagy and Seth
 * 1984).
 */
export function inReadingOrder(segments: readonly Segment[]): readonly Segment[] {
  const goesUp = segments.some((segment, index) => {
    const last = segments[index - 1]
    if (!last) return false
    const isAbove = segment.box.y + segment.box.height < last.box.y
    return (
      isAbove && segment.box.x < last.box.x + last.box.width && segment.box.x + segment.box.width > last.box.x
    )
  })
  return goesUp ? cut(segments) : segments
}

function cut(segments: readonly Segment[]): Segment[] {
  if (segments.length < 2) return [...segments]
  const columns = split(segments, ({ box }) => [box.x, box.x + box.width], 1)
  if (columns.length > 1 && columns.every(isColumn)) return columns.flatMap(cut)
  const bands = split(segments, ({ box }) => [box.y, box.y + box.height], 0)
  if (bands.length > 1) return mergeColumns(bands).flatMap(cut)
  return byLine(segments)
}

/** Bands whose text is in the same two columns belong together, or their columns would be read across. */
function mergeColumns(bands: readonly Segment[][]): Segment[][] {
  const merged: Segment[][] = []
  for (const band of bands) {
    const last = merged.at(-1)
    const both = last ? [...last, ...band] : band
    const columns = (part: readonly Segment[]) => split(part, ({ box }) => [box.x, box.x + box.width], 1)
    const isWide = columns(band).length > 1
    if (last && isWide && columns(last).length > 1 && columns(both).length > 1)
      merged[merged.length - 1] = both
    else merged.push(band)
  }
  return merged.length > 1 ? merged : [...bands]
}

const isColumn = (part: readonly Segment[]) =>
  part.length >= minColumnLines &&
  part.reduce((sum, { text }) => sum + text.length, 0) / part.length >= minColumnChars

/** Splits where no segment covers the axis for more than `gap` times the size. */
function split(
  segments: readonly Segment[],
  extent: (segment: Segment) => readonly [number, number],
  gap: number,
): Segment[][] {
  const sorted = [...segments].sort((a, b) => extent(a)[0] - extent(b)[0])
  const parts: Segment[][] = []
  let reach = Number.NEGATIVE_INFINITY
  for (const segment of sorted) {
    const [from, to] = extent(segment)
    const part = parts.at(-1)
    if (!part || from - reach > gap * segment.size) parts.push([segment])
    else part.push(segment)
    reach = Math.max(reach, to)
  }
  return parts
}

function byLine(segments: readonly Segment[]): Segment[] {
  const rest = [...segments].sort((a, b) => a.box.y - b.box.y)
  const lines: Segment[][] = []
  for (const segment of rest) {
    const first = lines.at(-1)?.[0]
    if (first && verticalOverlap(first.box, segment.box) > 0.5) lines.at(-1)?.push(segment)
    else lines.push([segment])
  }
  return lines.flatMap((line) => line.sort((a, b) => a.box.x - b.box.x))
}
