import { CanonicalText } from './canonical.ts'
import { type Extracted, ExtractionError, type ExtractionLimits } from './extracted.ts'
import { type DraftPage, writePages } from './pdf-blocks.ts'
import { layOut } from './pdf-layout.ts'
import { readPdfObjects } from './pdf-objects.ts'
import { inReadingOrder } from './pdf-order.ts'
import { type PageText, readPageText } from './pdf-page.ts'
import { type OpenDocument, signalDocument, signalPage, withForm } from './pdf-signals.ts'
import { loadPdfium, type Pdfium } from './pdfium.ts'

const passwordError = 4
const securityError = 5
/** Readers look for the end mark in the last kilobyte. */
const tailBytes = 1024

/** Errors: encrypted, damaged, too_many_pages, too_large, no_text. */
export async function extractPdf(bytes: Buffer, limits: ExtractionLimits): Promise<Extracted> {
  const pdfium = await loadPdfium()
  const { native } = pdfium
  return pdfium.withBytes(bytes, (pointer) => {
    const document = native.FPDF_LoadMemDocument(pointer, bytes.length, 0)
    if (document === 0) throw loadError(native.FPDF_GetLastError())
    try {
      return read(pdfium, document, bytes, limits)
    } finally {
      native.FPDF_CloseDocument(document)
    }
  })
}

function loadError(code: number): ExtractionError {
  return new ExtractionError(code === passwordError || code === securityError ? 'encrypted' : 'damaged')
}

function read(pdfium: Pdfium, document: number, bytes: Buffer, limits: ExtractionLimits): Extracted {
  const { native } = pdfium
  const repaired = native.FPDF_DocumentHasValidCrossReferenceTable(document) === 0
  if (repaired && !bytes.subarray(-tailBytes).includes('%%EOF')) {
    throw new ExtractionError('damaged', 'the end of the file is missing')
  }
  const pageCount = native.FPDF_GetPageCount(document)
  if (pageCount <= 0) throw new ExtractionError('damaged', 'it has no page')
  if (pageCount > limits.maxPages) throw new ExtractionError('too_many_pages', `${pageCount} pages`)

  const canonical = new CanonicalText(limits)
  readMetadata(pdfium, document, canonical)
  if (repaired) canonical.property('repaired', 'true')
  const objects = readPdfObjects(bytes)
  canonical.property('language', objects.language())
  signalDocument(pdfium, document, objects, canonical)
  const pages = withForm(pdfium, document, (form) =>
    readPages(pdfium, { document, form }, pageCount, limits, canonical),
  )
  writePages(pages, canonical)
  const extracted = canonical.finish('application/pdf', 'pdfium/1')
  if (extracted.text !== '') return extracted
  throw repaired
    ? new ExtractionError('damaged', 'nothing could be recovered')
    : new ExtractionError('no_text')
}

function readPages(
  pdfium: Pdfium,
  open: OpenDocument,
  pageCount: number,
  limits: ExtractionLimits,
  canonical: CanonicalText,
): DraftPage[] {
  const pages: DraftPage[] = []
  const recognised: number[] = []
  let chars = 0
  for (let number = 1; number <= pageCount; number++) {
    const { width, height, segments, hidden, recognised: isScan } = readPage(pdfium, open, number, canonical)
    chars += segments.reduce((sum, { text }) => sum + text.length, 0)
    if (chars > limits.maxTextChars) throw new ExtractionError('too_large')
    for (const [reason, text] of hidden) {
      canonical.signal('hidden_text', `Text that does not show (${reason}): ${text}`, { page: number })
    }
    if (isScan) recognised.push(number)
    pages.push({ width, height, drafts: layOut(inReadingOrder(segments)) })
  }
  const textless = pages.flatMap(({ drafts }, index) => (drafts.length === 0 ? [index + 1] : []))
  canonical.property('pages.withoutText', textless.join(','))
  canonical.property('pages.recognised', recognised.join(','))
  return pages
}

function readPage(pdfium: Pdfium, open: OpenDocument, number: number, canonical: CanonicalText): PageText {
  const { native } = pdfium
  const asIs = withPage(pdfium, open, number, (page) => {
    const showsMore = signalPage(pdfium, open, page, number, canonical)
    if (!showsMore) return readPageText(pdfium, page)
    native.FPDFPage_Flatten(page, 0)
    return undefined
  })
  // What fields and notes show has become content, which a page notices when it is loaded anew.
  return asIs ?? withPage(pdfium, open, number, (page) => readPageText(pdfium, page))
}

function withPage<T>(
  { native }: Pdfium,
  { document }: OpenDocument,
  number: number,
  use: (page: number) => T,
): T {
  const page = native.FPDF_LoadPage(document, number - 1)
  if (page === 0) throw new ExtractionError('damaged', `page ${number} cannot be read`)
  try {
    return use(page)
  } finally {
    native.FPDF_ClosePage(page)
  }
}

function readMetadata(pdfium: Pdfium, document: number, canonical: CanonicalText): void {
  const { native } = pdfium
  for (const tag of ['Title', 'Author', 'Subject', 'Creator', 'Producer', 'CreationDate', 'ModDate']) {
    const value = pdfium.withCString(tag, (name) =>
      pdfium.utf16((buffer, size) => native.FPDF_GetMetaText(document, name, buffer, size)),
    )
    canonical.property(tag.charAt(0).toLowerCase() + tag.slice(1), value)
  }
  canonical.property('tagged', String(native.FPDFCatalog_IsTagged(document) === 1))
}
