import type { Box } from './extracted.ts'
import type { ToBox } from './pdf-page.ts'
import type { Pdfium } from './pdfium.ts'

const pathObject = 2
const imageObject = 3
const formObject = 5
const invisibleModes = new Set([3, 7])
/** Of 255: what no one tells from white paper. */
const nearWhite = 248
const minPoints = 2
/** Share of the page an image covers when the page is a scan. */
const scanShare = 0.5

interface Backdrop {
  readonly box: Box
  readonly image: boolean
}

export interface Visibility {
  /** Why a character does not show; undefined when it does. */
  hiddenReason(textObject: number, box: Box): string | undefined
  recognised(): boolean
}

/**
 * Text is hidden when it is painted in no way, transparent, white without anything painted under it, under two
 * points, or off the page. Invisible text over a page-wide image is what text recognition adds to a scan: shown.
 */
export function createVisibility(
  pdfium: Pdfium,
  page: number,
  size: { readonly width: number; readonly height: number },
  toBox: ToBox,
): Visibility {
  const paints = new Map<number, 'shown' | 'white' | string>()
  let backdrops: readonly Backdrop[] | undefined
  let recognised = false
  const under = () => {
    backdrops ??= readBackdrops(pdfium, page, toBox)
    return backdrops
  }
  const isScan = () =>
    under().some(({ image, box }) => image && box.width * box.height >= scanShare * size.width * size.height)

  return {
    recognised: () => recognised,
    hiddenReason(object, box) {
      const isOff =
        box.x + box.width < 0 || box.y + box.height < 0 || box.x > size.width || box.y > size.height
      if (isOff) return 'off the page'
      if (box.height > 0 && box.height < minPoints) return 'tiny'
      let paint = paints.get(object)
      if (paint === undefined) {
        paint = paintOf(pdfium, object)
        paints.set(object, paint)
      }
      if (paint === 'shown') return undefined
      if (paint === 'white')
        return under().some((backdrop) => covers(backdrop.box, box)) ? undefined : 'white'
      if (paint !== 'invisible' || !isScan()) return paint
      recognised = true
      return undefined
    },
  }
}

function paintOf(pdfium: Pdfium, object: number): string {
  if (object === 0) return 'shown'
  const mode = pdfium.native.FPDFTextObj_GetTextRenderMode(object)
  if (invisibleModes.has(mode)) return 'invisible'
  const color = fillColor(pdfium, object)
  if (!color || mode === 1) return 'shown'
  if (color.alpha === 0) return 'transparent'
  return color.white ? 'white' : 'shown'
}

function fillColor(
  { native, out, int }: Pdfium,
  object: number,
): { white: boolean; alpha: number } | undefined {
  if (!native.FPDFPageObj_GetFillColor(object, ...out)) return undefined
  return { white: int(0) >= nearWhite && int(1) >= nearWhite && int(2) >= nearWhite, alpha: int(3) }
}

/** What is painted on the page other than text, and is not white itself. */
function readBackdrops(pdfium: Pdfium, page: number, toBox: ToBox): Backdrop[] {
  const { native, out, float } = pdfium
  const found: Backdrop[] = []
  const count = native.FPDFPage_CountObjects(page)
  for (let index = 0; index < count; index++) {
    const object = native.FPDFPage_GetObject(page, index)
    const type = native.FPDFPageObj_GetType(object)
    if (type < pathObject || type > formObject) continue
    if (type === pathObject && !isPainted(pdfium, object)) continue
    if (!native.FPDFPageObj_GetBounds(object, ...out)) continue
    found.push({ box: toBox(float(0), float(1), float(2), float(3)), image: type === imageObject })
  }
  return found
}

function isPainted(pdfium: Pdfium, path: number): boolean {
  const [mode, stroke] = pdfium.out
  if (!pdfium.native.FPDFPath_GetDrawMode(path, mode, stroke) || pdfium.int(0) === 0) return false
  return fillColor(pdfium, path)?.white === false
}

function covers(outer: Box, inner: Box): boolean {
  const x = inner.x + inner.width / 2
  const y = inner.y + inner.height / 2
  return x >= outer.x && x <= outer.x + outer.width && y >= outer.y && y <= outer.y + outer.height
}
