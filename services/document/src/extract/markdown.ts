import type { Nodes, Parents, Table } from 'mdast'
import { fromMarkdown } from 'mdast-util-from-markdown'
import { gfmTableFromMarkdown } from 'mdast-util-gfm-table'
import { gfmTable } from 'micromark-extension-gfm-table'
import { CanonicalText } from './canonical.ts'
import { decode } from './charset.ts'
import { type Extracted, ExtractionError, type ExtractionLimits } from './extracted.ts'
import { readHtml } from './html.ts'

const frontMatter = /^---\n([\s\S]*?)\n---(?:\n|$)/

/**
 * CommonMark with GFM tables. Markdown lets HTML stand anywhere and span blocks, so it is read as the HTML it
 * stands for: what hides text in HTML hides it here. Front matter becomes properties.
 */
export function extractMarkdown(bytes: Buffer, limits: ExtractionLimits): Extracted {
  const { text, charset } = decode(bytes)
  const canonical = new CanonicalText(limits)
  canonical.property('charset', charset)
  const source = text.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n')
  const matter = frontMatter.exec(source)
  for (const line of matter?.[1]?.split('\n') ?? []) {
    const [, name, value] = /^(\w[\w-]{0,40}):\s*(.*)$/.exec(line) ?? []
    if (name) canonical.property(name, value?.replace(/^(["'])(.*)\1$/, '$2'))
  }
  const tree = fromMarkdown(source.slice(matter?.[0].length ?? 0), {
    extensions: [gfmTable()],
    mdastExtensions: [gfmTableFromMarkdown()],
  })
  readHtml(toHtml(tree), canonical)
  const extracted = canonical.finish('text/markdown', 'markdown/1')
  if (extracted.text === '') throw new ExtractionError('empty')
  return extracted
}

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const escapeHtml = (text: string) => text.replace(/[&<>"]/g, (char) => escapes[char] ?? char)
const inside = (node: Parents) => node.children.map(toHtml).join('')

function toHtml(node: Nodes): string {
  switch (node.type) {
    case 'html':
      return node.value
    case 'text':
      return escapeHtml(node.value)
    case 'inlineCode':
      return `<code>${escapeHtml(node.value)}</code>`
    case 'code':
      return `<pre>\n${escapeHtml(node.value)}</pre>`
    case 'break':
      return '<br>'
    case 'thematicBreak':
      return '<hr>'
    case 'heading':
      return `<h${node.depth}>${inside(node)}</h${node.depth}>`
    case 'paragraph':
      return `<p>${inside(node)}</p>`
    case 'blockquote':
      return `<blockquote>${inside(node)}</blockquote>`
    case 'list':
      return node.ordered ? `<ol start="${node.start ?? 1}">${inside(node)}</ol>` : `<ul>${inside(node)}</ul>`
    case 'listItem':
      return `<li>${inside(node)}</li>`
    case 'link':
      return `<a href="${escapeHtml(node.url)}">${inside(node)}</a>`
    case 'image':
      return `<img src="${escapeHtml(node.url)}">`
    case 'table':
      return table(node)
    default:
      return 'children' in node ? inside(node) : ''
  }
}

function table({ children }: Table): string {
  const rows = children.map(
    (row) => `<tr>${row.children.map((cell) => `<td>${inside(cell)}</td>`).join('')}</tr>`,
  )
  return `<table>${rows.join('')}</table>`
}
