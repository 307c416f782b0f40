import { detect } from './detect.ts'
import { extractDocx } from './docx.ts'
import { type Extracted, ExtractionError, type ExtractionLimits, type Hints } from './extracted.ts'
import { extractHtml } from './html.ts'
import { extractMarkdown } from './markdown.ts'
import { extractPdf } from './pdf.ts'
import { extractText } from './text.ts'

/** Reads one document in this process; services go through the pool. Errors: {@link ExtractionError}. */
export async function extractDocument(
  bytes: Buffer,
  hints: Hints,
  limits: ExtractionLimits,
): Promise<Extracted> {
  try {
    return await read(bytes, hints, limits)
  } catch (error) {
    const tooDeep = error instanceof RangeError && /call stack/.test(error.message)
    throw tooDeep ? new ExtractionError('damaged', 'nested too deep') : error
  }
}

async function read(bytes: Buffer, hints: Hints, limits: ExtractionLimits): Promise<Extracted> {
  if (bytes.length > limits.maxBytes) {
    throw new ExtractionError('too_large', `more than ${limits.maxBytes} bytes`)
  }
  const type = await detect(bytes, hints)
  switch (type) {
    case 'application/pdf':
      return extractPdf(bytes, limits)
    case 'text/html':
      return extractHtml(bytes, limits)
    case 'text/markdown':
      return extractMarkdown(bytes, limits)
    case 'text/plain':
      return extractText(bytes, limits)
    default:
      return extractDocx(bytes, limits)
  }
}
