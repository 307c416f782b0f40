import type { SaxesTagNS } from 'saxes'
import { SaxesParser } from 'saxes'
import { ExtractionError } from './extracted.ts'

const maxDepth = 256

/** Namespaces of WordprocessingML, transitional and strict. */
const wordNamespaces: ReadonlySet<string> = new Set([
  'http://schemas.openxmlformats.org/wordprocessingml/2006/main',
  'http://purl.oclc.org/ooxml/wordprocessingml/main',
])

export interface XmlElement {
  /** `w:` + local name for WordprocessingML whatever its prefix, else the local name. */
  readonly name: string
  /** By local name, of any namespace. */
  readonly attributes: Readonly<Record<string, string>>
}

export interface XmlHandlers {
  open?(element: XmlElement): void
  close?(name: string): void
  text?(text: string): void
}

/** Streams XML without resolving anything: a DOCTYPE, bad form or depth over 256 is `damaged`. */
export async function parseXml(chunks: AsyncIterable<Buffer>, handlers: XmlHandlers): Promise<void> {
  const parser = new SaxesParser({ xmlns: true, position: false })
  let depth = 0
  parser.on('doctype', () => {
    throw new ExtractionError('damaged', 'XML with a DOCTYPE is refused')
  })
  parser.on('error', () => {
    throw new ExtractionError('damaged', 'XML is not well formed')
  })
  parser.on('opentag', (tag) => {
    if (++depth > maxDepth) throw new ExtractionError('damaged', `XML is nested deeper than ${maxDepth}`)
    handlers.open?.({ name: nameOf(tag), attributes: localAttributes(tag) })
  })
  parser.on('closetag', (tag) => {
    depth--
    handlers.close?.(nameOf(tag))
  })
  const onText = (text: string) => handlers.text?.(text)
  parser.on('text', onText)
  parser.on('cdata', onText)

  let decoder: InstanceType<typeof TextDecoder> | undefined
  for await (const chunk of chunks) {
    decoder ??= new TextDecoder(xmlEncoding(chunk))
    parser.write(decoder.decode(chunk, { stream: true }))
  }
  if (decoder) parser.close()
}

function xmlEncoding(start: Buffer): string {
  if (start[0] === 0xff && start[1] === 0xfe) return 'utf-16le'
  if (start[0] === 0xfe && start[1] === 0xff) return 'utf-16be'
  return 'utf-8'
}

const nameOf = (tag: SaxesTagNS) => (wordNamespaces.has(tag.uri) ? `w:${tag.local}` : tag.local)

function localAttributes(tag: SaxesTagNS): Record<string, string> {
  const attributes: Record<string, string> = {}
  for (const attribute of Object.values(tag.attributes)) attributes[attribute.local] = attribute.value
  return attributes
}
