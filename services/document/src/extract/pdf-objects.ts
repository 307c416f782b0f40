import { inflateSync } from 'node:zlib'

const maxInflatedBytes = 32 * 1024 * 1024
/** How far after a reference the entries of a small action dictionary are looked for. */
const actionChars = 400

export interface PdfObjects {
  /** Whether a name occurs in any object, however it is escaped. */
  has(name: string): boolean
  /** Kind of action that runs when the document opens; undefined for none or a mere destination. */
  openAction(): string | undefined
  /** Of the document, as a language tag. */
  language(): string | undefined
}

/**
 * Looks for names in the file as it is and in its inflated object streams: PDFium has no call for these.
 * Objects that an update replaced count too. What is encrypted with an empty password is not seen.
 */
export function readPdfObjects(bytes: Buffer): PdfObjects {
  const text = bytes.toString('latin1')
  const sources = [text, ...inflateObjectStreams(bytes, text)]
  const find = (pattern: RegExp) => {
    for (const source of sources) {
      const match = pattern.exec(source)
      if (match)
        return source.slice(match.index + match[0].length, match.index + match[0].length + actionChars)
    }
    return undefined
  }

  return {
    has: (name) => find(namePattern(name)) !== undefined,
    language: () => /^\s*\(([A-Za-z-]{2,20})\)/.exec(find(namePattern('Lang')) ?? '')?.[1],
    openAction() {
      const after = find(namePattern('OpenAction'))?.trimStart()
      if (after === undefined) return undefined
      const reference = /^(\d+)\s+(\d+)\s+R/.exec(after)
      const target = reference ? find(new RegExp(`(?<!\\d)${reference[1]}\\s+${reference[2]}\\s+obj`)) : after
      if (target?.trimStart().startsWith('[')) return undefined
      const action = /\/S\s*\/(\w{1,40})/.exec(target?.split('endobj')[0] ?? '')?.[1]
      return action === 'GoTo' ? undefined : (action ?? 'unknown')
    },
  }
}

/** A name with any of its letters written as #xx. */
function namePattern(name: string, flags = ''): RegExp {
  const letters = [...name].map((letter) => {
    const hex = letter.charCodeAt(0).toString(16)
    return `(?:${letter}|#${hex}|#${hex.toUpperCase()})`
  })
  return new RegExp(`/${letters.join('')}(?![A-Za-z0-9#])`, flags)
}

function inflateObjectStreams(bytes: Buffer, text: string): string[] {
  const found: string[] = []
  let budget = maxInflatedBytes
  for (const match of text.matchAll(namePattern('ObjStm', 'g'))) {
    const before =
      text
        .slice(Math.max(0, match.index - actionChars), match.index)
        .split(/\bobj\b/)
        .at(-1) ?? ''
    const after = text.slice(match.index, match.index + actionChars)
    const start = after.search(/stream\r?\n/)
    if (start < 0) continue
    const first = /\/First\s+(\d{1,9})/.exec(before + after.slice(0, start))?.[1]
    const from = text.indexOf('\n', match.index + start) + 1
    const end = text.indexOf('endstream', from)
    const inflated = inflate(bytes.subarray(from, end < 0 ? bytes.length : end), budget)
    budget -= inflated.length
    found.push(withNumbers(inflated, Number(first ?? 0)))
    if (end < 0 || budget <= 0) break
  }
  return found
}

function inflate(body: Buffer, maxOutputLength: number): string {
  try {
    return inflateSync(body, { maxOutputLength }).toString('latin1')
  } catch {
    // Encrypted, filtered otherwise or over the budget: PDFium's own calls still see its scripts and files.
    return ''
  }
}

/** Writes the objects of an object stream as they would stand in the file, so that references are found. */
function withNumbers(content: string, first: number): string {
  const header = content.slice(0, first).trim().split(/\s+/).map(Number)
  const objects: string[] = []
  for (let at = 0; at + 1 < header.length; at += 2) {
    const end = header[at + 3]
    const body = content.slice(first + (header[at + 1] ?? 0), end === undefined ? undefined : first + end)
    objects.push(`${header[at]} 0 obj ${body} endobj`)
  }
  return objects.join('\n')
}
