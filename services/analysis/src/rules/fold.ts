/** `offsets[i]` is where folded unit `i` starts in the original; one more entry holds the original length. */
export interface Folded {
  readonly text: string
  readonly offsets: Uint32Array
}

const UNKNOWN = 0xffff
const DROPPED = 0
const EXPANDED = 1
const SPACE = 32
const LONGEST_EXPANSION = 32

const units = new Uint16Array(0x10000).fill(UNKNOWN)
const expansions = new Map<number, string>()

const foldUnit = (unit: number): number => {
  const char = String.fromCharCode(unit)
  if (/\s/.test(char)) return SPACE
  if (unit >= 0xd800 && unit <= 0xdfff) return unit
  if (/[\p{M}\u00ad\u200b-\u200d\u2060]/u.test(char) || unit < SPACE) return DROPPED
  if (/[\u2010-\u2015\u2212]/.test(char)) return 45
  if (/[\u2018\u2019\u02bc]/.test(char)) return 39
  const plain = char.toLowerCase().normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
  if (plain.length === 0) return DROPPED
  if (plain.length === 1) return plain.charCodeAt(0)
  expansions.set(unit, plain)
  return EXPANDED
}

/** Lower case, no accents, white space runs as one blank, dashes and apostrophes as in ASCII: for matching only. */
export const fold = (source: string): Folded => {
  let text = new Uint16Array(source.length + LONGEST_EXPANSION)
  let offsets = new Uint32Array(text.length + 1)
  let length = 0
  for (let index = 0; index < source.length; index++) {
    const unit = source.charCodeAt(index)
    let plain = units[unit] ?? UNKNOWN
    if (plain === UNKNOWN) {
      plain = foldUnit(unit)
      units[unit] = plain
    }
    if (plain === DROPPED || (plain === SPACE && (length === 0 || text[length - 1] === SPACE))) continue
    if (plain !== EXPANDED) {
      offsets[length] = index
      text[length++] = plain
    } else {
      for (const part of expansions.get(unit) ?? '') {
        offsets[length] = index
        text[length++] = part.charCodeAt(0)
      }
    }
    if (length + LONGEST_EXPANSION > text.length) {
      const larger = new Uint16Array(text.length * 2)
      larger.set(text)
      text = larger
      const more = new Uint32Array(text.length + 1)
      more.set(offsets)
      offsets = more
    }
  }
  offsets[length] = source.length
  return {
    text: new TextDecoder('utf-16le').decode(text.subarray(0, length)),
    offsets: offsets.subarray(0, length + 1),
  }
}

export const foldText = (source: string): string => fold(source).text.trim()

/** The span in the original text of folded units `start` to `end`. */
export const unfold = (
  { offsets }: Folded,
  start: number,
  end: number,
): { readonly start: number; readonly end: number } => {
  const last = offsets[end - 1] ?? 0
  return { start: offsets[start] ?? 0, end: Math.max(offsets[end] ?? 0, last + 1) }
}

/** Letters and digits of folded text: what a whole-word match may not touch. */
export const isWordUnit = (unit: number): boolean =>
  (unit >= 97 && unit <= 122) ||
  (unit >= 48 && unit <= 57) ||
  (unit > 127 && /[\p{L}\p{N}]/u.test(String.fromCharCode(unit)))
