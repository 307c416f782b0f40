import type { Block, DocumentText, PageSpan, Signal } from './document-text.ts'

interface Line {
  readonly kind: string
  readonly text: string
  readonly level?: number
}

const readLine = (line: string): Line => {
  const heading = /^(#{1,6})\s+(.*)$/.exec(line)
  if (heading !== null) return { kind: 'heading', text: heading[2] ?? '', level: heading[1]?.length ?? 1 }
  const item = /^[-*]\s+(.*)$/.exec(line)
  if (item !== null) return { kind: 'list_item', text: item[1] ?? '' }
  const row = /^\|(.*)\|$/.exec(line)
  if (row !== null)
    return {
      kind: 'table_row',
      text: (row[1] ?? '')
        .split('|')
        .map((cell) => cell.trim())
        .join('\t'),
    }
  return { kind: 'paragraph', text: line }
}

/** The text of a rule's test as a document: Markdown headings, lists, table rows, paragraphs; \f starts a page. */
export const sampleDocument = (
  source: string,
  extra: {
    readonly mediaType?: string
    readonly properties?: Readonly<Record<string, string>>
    readonly signals?: readonly Signal[]
  } = {},
): DocumentText => {
  const blocks: Block[] = []
  const pages: PageSpan[] = []
  let text = ''
  for (const [index, page] of source.split('\f').entries()) {
    const start = text.length
    let joins = false
    for (const line of page.split('\n')) {
      if (line.trim() === '') {
        joins = false
        continue
      }
      const { kind, text: content, level } = readLine(line)
      const last = blocks.at(-1)
      if (joins && kind === 'paragraph' && last?.kind === 'paragraph') {
        text += `\n${content}`
        blocks[blocks.length - 1] = { ...last, end: text.length }
        continue
      }
      if (text.length > 0) text += '\n\n'
      const begin = text.length
      text += content
      blocks.push({
        kind,
        start: begin,
        end: text.length,
        page: index + 1,
        ...(level !== undefined && { level }),
      })
      joins = kind === 'paragraph'
    }
    pages.push({ number: index + 1, start, end: text.length })
  }
  const { mediaType = 'text/markdown', properties = {}, signals = [] } = extra
  return { mediaType, text, pages, blocks, signals, properties }
}
