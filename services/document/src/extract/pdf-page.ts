import type { Box } from './extracted.ts'
import { createVisibility } from './pdf-visibility.ts'
import type { Pdfium } from './pdfium.ts'

type MutableBox = { -readonly [K in keyof Box]: Box[K] }

/** A run of text on one line without wide gaps. */
export interface Segment {
  text: string
  readonly box: MutableBox
  /** Height of the line box of most characters: the size as it shows, whatever matrices are in force. */
  size: number
  /** Bottom of the line box of most characters. */
  base: number
  bold: boolean
  /** Ends in a hyphen that splits a word. */
  hyphenated: boolean
}

export interface PageText {
  readonly width: number
  readonly height: number
  readonly segments: readonly Segment[]
  /** Text that does not show, by the reason. */
  readonly hidden: ReadonlyMap<string, string>
  /** Has invisible text over an image: a scan with recognised text. */
  readonly recognised: boolean
}

/** Gap in multiples of the size that separates columns or cells rather than words. */
const cellGap = 1.5
/** What PDFium reports for a hyphen that splits a word at the end of a line. */
const wordSplit = 0x02
const wordGap = 0.3
/** Points. */
const sizeTolerance = 0.05
const bold = /bold|black|heavy|semibold|demi/i

/** Reads the text of a loaded page in the order of its content, with boxes as the page shows. */
export function readPageText(pdfium: Pdfium, page: number): PageText {
  const { native, out, float } = pdfium
  const width = native.FPDF_GetPageWidthF(page)
  const height = native.FPDF_GetPageHeightF(page)
  const toBox = pageTransform(pdfium, page, width, height)
  const visibility = createVisibility(pdfium, page, { width, height }, toBox)
  const segments: Segment[] = []
  const hidden = new Map<string, string>()
  const fonts = new Map<number, boolean>()
  let current: Segment | undefined
  let lastObject = -1
  let isBold = false
  let space = false
  let votes = 0

  const textPage = native.FPDFText_LoadPage(page)
  if (textPage === 0) return { width, height, segments, hidden, recognised: false }
  const count = native.FPDFText_CountChars(textPage)
  for (let index = 0; index < count; index++) {
    const code = native.FPDFText_GetUnicode(textPage, index)
    if (code === 0x0d || code === 0x0a) current = undefined
    if (isBlank(code)) {
      space = true
      continue
    }
    const hyphen = code === wordSplit || (code === 0x2d && native.FPDFText_IsHyphen(textPage, index) === 1)
    if (code < 0x20 && !hyphen) continue
    if (code >= 0xfffe && code <= 0xffff) continue
    const char = code === wordSplit ? '-' : String.fromCodePoint(code)
    native.FPDFText_GetLooseCharBox(textPage, index, out[0])
    const box = toBox(float(0), float(3), float(2), float(1))
    const object = native.FPDFText_GetTextObject(textPage, index)
    const reason = visibility.hiddenReason(object, box)
    if (reason !== undefined) {
      hidden.set(reason, `${hidden.get(reason) ?? ''}${space ? ' ' : ''}${char}`)
      space = false
      continue
    }
    if (object !== lastObject) isBold = fontIsBold(pdfium, object, fonts)
    lastObject = object
    if (current && continues(current, box)) {
      const gap = box.x - (current.box.x + current.box.width)
      current.text += space || gap > wordGap * current.size ? ` ${char}` : char
      extend(current.box, box)
      current.bold &&= isBold
      current.hyphenated = hyphen
    } else {
      current = { text: char, box: { ...box }, size: box.height, base: 0, bold: isBold, hyphenated: hyphen }
      segments.push(current)
      votes = 0
    }
    votes = vote(current, box, votes)
    space = false
  }
  native.FPDFText_ClosePage(textPage)
  return { width, height, segments, hidden, recognised: visibility.recognised() }
}

/**
 * Boyer and Moore's majority vote (1981) on the size: a bullet or an index in another font is outvoted by the
 * text beside it. Returns the votes of the size that leads.
 */
function vote(segment: Segment, { y, height }: Box, votes: number): number {
  const agrees = Math.abs(segment.size - height) < sizeTolerance
  if (!agrees && votes > 0) return votes - 1
  segment.size = height
  segment.base = y + height
  return votes + 1
}

const isBlank = (code: number) => code === 0x20 || code === 0x09 || code === 0xa0 || code === 0xad

/** Same line, to the right of what is there, no wide gap. */
function continues({ box, size }: Segment, next: Box): boolean {
  const overlap = Math.min(box.y + box.height, next.y + next.height) - Math.max(box.y, next.y)
  const gap = next.x - (box.x + box.width)
  return overlap > Math.min(box.height, next.height) / 2 && gap < cellGap * size && gap > -size
}

/** Grows a box in place: this runs for every character. */
function extend(box: MutableBox, by: Box): void {
  const right = Math.max(box.x + box.width, by.x + by.width)
  const bottom = Math.max(box.y + box.height, by.y + by.height)
  box.x = Math.min(box.x, by.x)
  box.y = Math.min(box.y, by.y)
  box.width = right - box.x
  box.height = bottom - box.y
}

export function union(a: Box, b: Box): Box {
  const box = { ...a }
  extend(box, b)
  return box
}

function fontIsBold(pdfium: Pdfium, object: number, known: Map<number, boolean>): boolean {
  const font = object === 0 ? 0 : pdfium.native.FPDFTextObj_GetFont(object)
  if (font === 0) return false
  const found = known.get(font)
  if (found !== undefined) return found
  const name = pdfium.latin1((buffer, size) => pdfium.native.FPDFFont_GetBaseFontName(font, buffer, size))
  known.set(font, bold.test(name))
  return bold.test(name)
}

export type ToBox = (left: number, bottom: number, right: number, top: number) => MutableBox

/** PDF user space to points from the top left, past crop box and rotation, from three points PDFium maps. */
function pageTransform(pdfium: Pdfium, page: number, width: number, height: number): ToBox {
  const scale = 100
  const reach = 1000
  const sizeX = Math.round(width * scale)
  const sizeY = Math.round(height * scale)
  const map = (x: number, y: number) => {
    const [outX, outY] = pdfium.out
    pdfium.native.FPDF_PageToDevice(page, 0, 0, sizeX, sizeY, 0, x, y, outX, outY)
    return { x: pdfium.int(0) / scale, y: pdfium.int(1) / scale }
  }
  const origin = map(0, 0)
  const right = map(reach, 0)
  const up = map(0, reach)
  const xx = (right.x - origin.x) / reach
  const xy = (up.x - origin.x) / reach
  const yx = (right.y - origin.y) / reach
  const yy = (up.y - origin.y) / reach
  return (x1, y1, x2, y2) => {
    const left = origin.x + xx * x1 + xy * y1
    const top = origin.y + yx * x1 + yy * y1
    const across = xx * (x2 - x1) + xy * (y2 - y1)
    const down = yx * (x2 - x1) + yy * (y2 - y1)
    return {
      x: Math.min(left, left + across),
      y: Math.min(top, top + down),
      width: Math.abs(across),
      height: Math.abs(down),
    }
  }
}
