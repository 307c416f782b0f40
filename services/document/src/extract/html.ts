import { parse, type DefaultTreeAdapterTypes as Tree } from 'parse5'
import { CanonicalText } from './canonical.ts'
import { decode } from './charset.ts'
import { formatCount } from './count-format.ts'
import { type BlockKind, type Extracted, ExtractionError, type ExtractionLimits } from './extracted.ts'
import { type ElementFacts, elementFacts } from './html-elements.ts'

const maxDepth = 512

interface Scope {
  readonly kind: BlockKind
  readonly level?: number | undefined
  readonly preformatted: boolean
  readonly hidden: boolean
  readonly listDepth: number
  readonly depth: number
}

/** Text as it shows without style sheets from elsewhere: `hidden` attributes and inline styles hide. */
export function extractHtml(bytes: Buffer, limits: ExtractionLimits): Extracted {
  const head = bytes.subarray(0, 1024).toString('latin1')
  const declared =
    /<meta[^>]{1,200}charset\s*=\s*["']?\s*([\w-]+)|<\?xml[^>]{1,100}encoding=["']([\w-]+)/i.exec(head)
  const { text, charset } = decode(bytes, declared?.[1] ?? declared?.[2])
  const canonical = new CanonicalText(limits)
  canonical.property('charset', charset)
  readHtml(text, canonical)
  const extracted = canonical.finish('text/html', 'html/1')
  if (extracted.text === '') throw new ExtractionError('empty', 'no visible text')
  return extracted
}

/** Appends the blocks and signals of a whole HTML document. */
export function readHtml(html: string, canonical: CanonicalText): void {
  let buffer = ''
  let hidden = ''
  let marker = ''
  const markers = new Map<Tree.Element, string>()
  let row: string[] | undefined

  const page = { page: 1 }
  const signal = ([kind, detail]: ElementFacts['signals'][number]) => canonical.signal(kind, detail, page)

  function flush({ kind, level, preformatted }: Scope) {
    if (row) return
    const text = buffer.trim() && marker ? `${marker} ${buffer.trim()}` : buffer
    if (buffer.trim()) marker = ''
    buffer = ''
    canonical.add(kind, text, { level, preformatted })
  }

  function walkChildren(node: Tree.ParentNode, scope: Scope) {
    if (scope.depth > maxDepth) throw new ExtractionError('damaged', `HTML is nested deeper than ${maxDepth}`)
    for (const child of node.childNodes) {
      if ('tagName' in child) walkElement(child, scope)
      else if (child.nodeName === '#text') {
        const { value } = child as Tree.TextNode
        if (scope.hidden) hidden += value
        else buffer += scope.preformatted ? value : value.replace(/\s+/g, ' ')
      } else if (child.nodeName === '#comment') {
        const { data } = child as Tree.CommentNode
        if (data.trim()) canonical.signal('comment', data, page)
      }
    }
  }

  function walkElement(element: Tree.Element, outer: Scope) {
    const facts = elementFacts(element)
    for (const found of facts.signals) signal(found)
    if (element.tagName === 'html') canonical.property('language', facts.attributes.get('lang'))
    if (element.tagName === 'title' && !canonical.length) canonical.property('title', textOf(element))
    if (facts.ignored) return
    if (element.tagName === 'br') buffer += '\n'
    const scope = scopeOf(facts, outer)
    if (scope.hidden && !outer.hidden) {
      walkChildren(element, scope)
      if (hidden.trim())
        canonical.signal('hidden_text', `Hidden element <${element.tagName}>: ${hidden}`, page)
      hidden = ''
    } else if (!facts.isBlock) walkChildren(element, scope)
    else if (element.tagName === 'tr' && !row) walkRow(element, outer, scope)
    else {
      if (row) buffer += ' '
      flush(outer)
      if (element.tagName === 'ol')
        for (const [item, shown] of listMarkers(element, facts)) markers.set(item, shown)
      if (element.tagName === 'li') marker = markers.get(element) ?? ''
      walkChildren(element, scope)
      if (row) buffer += ' '
      flush(scope)
    }
  }

  function walkRow(element: Tree.Element, outer: Scope, scope: Scope) {
    if (isLayout(element)) return walkChildren(element, scope)
    flush(outer)
    row = []
    for (const cell of element.childNodes) {
      if (!('tagName' in cell)) continue
      walkElement(cell, scope)
      row.push(buffer)
      buffer = ''
    }
    const cells = row
    row = undefined
    canonical.addRow(cells)
  }

  const root: Scope = { kind: 'paragraph', preformatted: false, hidden: false, listDepth: 0, depth: 0 }
  walkChildren(parse(html, { scriptingEnabled: false }), root)
  flush(root)
}

function scopeOf({ tag, hidden }: ElementFacts, outer: Scope): Scope {
  const scope = { ...outer, hidden: outer.hidden || hidden, depth: outer.depth + 1 }
  const heading = /^h([1-6])$/.exec(tag)?.[1]
  if (heading) return { ...scope, kind: 'heading', level: Number(heading) }
  if (tag === 'ul' || tag === 'ol') return { ...scope, listDepth: outer.listDepth + 1 }
  if (tag === 'li') return { ...scope, kind: 'list_item', level: Math.max(1, outer.listDepth) }
  if (tag === 'pre') return { ...scope, kind: 'code', level: undefined, preformatted: true }
  if (tag === 'blockquote') return { ...scope, kind: 'quote', level: undefined }
  if (tag === 'header' || tag === 'footer') return { ...scope, kind: tag, level: undefined }
  return scope
}

const listFormats: Readonly<Record<string, string>> = {
  a: 'lowerLetter',
  A: 'upperLetter',
  i: 'lowerRoman',
  I: 'upperRoman',
}

/** The numbers a reader sees before the items of an ordered list. */
function listMarkers(list: Tree.Element, { attributes }: ElementFacts): [Tree.Element, string][] {
  const format = listFormats[attributes.get('type') ?? ''] ?? 'decimal'
  let count = Number.parseInt(attributes.get('start') ?? '1', 10) || 1
  return list.childNodes.flatMap((item): [Tree.Element, string][] => {
    if (!('tagName' in item) || item.tagName !== 'li') return []
    const own = Number.parseInt(item.attrs.find(({ name }) => name === 'value')?.value ?? '', 10)
    if (!Number.isNaN(own)) count = own
    return [[item, `${formatCount(count++, format)}.`]]
  })
}

/** A row that holds tables or headings arranges the page; its cells are read as plain blocks. */
function isLayout(node: Tree.ParentNode): boolean {
  return node.childNodes.some(
    (child) => 'tagName' in child && (/^(?:table|h[1-6])$/.test(child.tagName) || isLayout(child)),
  )
}

function textOf(node: Tree.ParentNode): string {
  return node.childNodes.map((child) => ('value' in child ? child.value : '')).join('')
}
