import { readFile, stat } from 'node:fs/promises'
import { extractDocument } from './extract.ts'
import {
  type Extracted,
  ExtractionError,
  type ExtractionFailure,
  type ExtractionLimits,
} from './extracted.ts'

/** What the pool sends to a child, one at a time. */
export interface Job {
  readonly path: string
  readonly fileName?: string | undefined
  readonly mediaType?: string | undefined
  readonly limits: ExtractionLimits
}

export type Reply =
  | { readonly ok: true; readonly extracted: Extracted }
  | { readonly ok: false; readonly failure: ExtractionFailure; readonly detail?: string | undefined }
  /** The system did not let the child read the file: no fault of the document. */
  | { readonly ok: false; readonly code: string }

/** A child says `begun` when it has got a job: if it ends without a reply after that, the document may be the reason. */
export type Message = 'begun' | Reply

async function answer({ path, limits, ...hints }: Job): Promise<Reply> {
  try {
    const { size } = await stat(path)
    if (size > limits.maxBytes) throw new ExtractionError('too_large', `more than ${limits.maxBytes} bytes`)
    return { ok: true, extracted: await extractDocument(await readFile(path), hints, limits) }
  } catch (error) {
    return asFailure(error)
  }
}

function asFailure(error: unknown): Reply {
  if (error instanceof ExtractionError) return { ok: false, failure: error.failure, detail: error.detail }
  if (error instanceof RangeError && /allocation|string length/.test(error.message)) {
    return { ok: false, failure: 'memory_limit' }
  }
  const { code, name, syscall } = error as { code?: string; name?: string; syscall?: string }
  if (syscall && code) return { ok: false, code }
  return { ok: false, failure: 'crashed', detail: code ?? name }
}

process.on('message', async (job: Job) => {
  process.send?.('begun' satisfies Message)
  process.send?.(await answer(job))
})
process.on('disconnect', () => process.exit())
