import { CanonicalText } from './canonical.ts'
import { bodyHandlers } from './docx-body.ts'
import { createLabels } from './docx-labels.ts'
import { type Relationship, readNumbering, readRelationships, readStyles } from './docx-parts.ts'
import { type Extracted, ExtractionError, type ExtractionLimits } from './extracted.ts'
import { parseXml } from './xml.ts'
import { openZip, type Zip } from './zip.ts'

export const docxMediaType = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'

/**
 * Reads Word's own parts by their relationships. Page numbers are those Word noted when it last saved, or
 * explicit breaks; else everything is on page 1. Order: headers, body, notes, footers.
 */
export async function extractDocx(bytes: Buffer, limits: ExtractionLimits): Promise<Extracted> {
  const zip = await openZip(bytes)
  const canonical = new CanonicalText(limits)
  const main = (await readRelationships(zip, '')).find(({ type }) => type === 'officeDocument')?.target
  if (!main || !zip.names.has(main)) throw new ExtractionError('damaged', 'the main part is missing')
  const relationships = await readRelationships(zip, main)
  const parts = (kind: string) =>
    relationships.filter(({ type, external }) => type === kind && !external).map(({ target }) => target)

  const styles = await readStyles(zip, parts('styles')[0])
  const label = createLabels(await readNumbering(zip, parts('numbering')[0]))
  const comments = await readComments(zip, parts('comments')[0])
  const context = { canonical, styles, label, comments }
  await readEdges(zip, parts('header'), 'header', context)
  await parseXml(zip.read(main), bodyHandlers(context))
  for (const notes of [...parts('footnotes'), ...parts('endnotes')]) {
    await parseXml(zip.read(notes), bodyHandlers(context))
  }
  await readEdges(zip, parts('footer'), 'footer', context)
  for (const comment of comments.values()) canonical.signal('comment', comment)

  await signalParts(zip, canonical)
  await readProperties(zip, canonical)
  const extracted = canonical.finish(docxMediaType, 'docx/1')
  if (extracted.text === '') throw new ExtractionError('empty', 'no text in the document')
  return extracted
}

/** Headers and footers for first, even and odd pages are often the same: each text counts once. */
async function readEdges(
  zip: Zip,
  parts: readonly string[],
  kind: 'header' | 'footer',
  context: Omit<Parameters<typeof bodyHandlers>[0], 'kind'>,
): Promise<void> {
  const seen = new Set<string>()
  for (const part of parts) {
    const chunks: Buffer[] = []
    for await (const chunk of zip.read(part)) chunks.push(chunk)
    const content = Buffer.concat(chunks)
    const texts: string[] = []
    await parseXml(once(content), { text: (text) => texts.push(text) })
    const key = texts.join('')
    if (seen.has(key)) continue
    seen.add(key)
    await parseXml(once(content), bodyHandlers({ ...context, kind }))
  }
}

async function* once(content: Buffer): AsyncIterable<Buffer> {
  yield content
}

async function readComments(zip: Zip, part: string | undefined): Promise<Map<string, string>> {
  const comments = new Map<string, string>()
  let id: string | undefined
  if (part) {
    await parseXml(zip.read(part), {
      open({ name, attributes }) {
        if (name === 'w:comment') {
          id = attributes.id ?? ''
          comments.set(id, `${attributes.author ?? 'unknown'}: `)
        }
      },
      text(text) {
        if (id !== undefined) comments.set(id, (comments.get(id) ?? '') + text)
      },
      close(name) {
        if (name === 'w:comment') id = undefined
      },
    })
  }
  return comments
}

async function signalParts(zip: Zip, canonical: CanonicalText): Promise<void> {
  for (const name of zip.names) {
    if (/vbaProject\.bin$/i.test(name)) canonical.signal('macro', `Macros: ${name}`)
    else if (/\/(?:embeddings|activeX)\/[^/]+\.\w+$/i.test(name)) canonical.signal('embedded_file', name)
    else if (/^_xmlsignatures\/.*\.xml$/i.test(name))
      canonical.signal('signature', 'Digital signature of the package')
    else if (/\.rels$/i.test(name)) {
      for (const link of await readExternal(zip, name)) {
        canonical.signal('external_reference', `${link.type}: ${link.target}`)
      }
    }
  }
}

async function readExternal(zip: Zip, name: string): Promise<Relationship[]> {
  const part = name.replace(/(?:^|\/)_rels\/([^/]*)\.rels$/i, (_, base: string) => (base ? `/${base}` : ''))
  return (await readRelationships(zip, part.replace(/^\//, ''))).filter(({ external }) => external)
}

async function readProperties(zip: Zip, canonical: CanonicalText): Promise<void> {
  const names = new Set(['title', 'creator', 'language', 'created', 'modified'])
  let current = ''
  const values = new Map<string, string>()
  await parseXml(zip.read('docProps/core.xml'), {
    open: ({ name }) => {
      current = name
    },
    text: (text) => {
      if (names.has(current)) values.set(current, (values.get(current) ?? '') + text)
    },
    close: () => {
      current = ''
    },
  })
  for (const [name, value] of values) canonical.property(name, value)
}
