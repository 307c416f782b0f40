import type { Analysis } from './analysis.ts'
import type { Documents, SourceText } from './documents.ts'

/** The canonical texts that the analyses of this process are at: several steps read one, and runs keep none. */
export interface Texts {
  /**
   * Asks the document service when this process does not have it, or no longer. Throws DOCUMENT_NOT_FOUND,
   * DOCUMENT_UNREADABLE, or an error when the text is not the one that the analysis began with.
   */
  read(analysis: Analysis, signal: AbortSignal): Promise<SourceText>
  forget(analysisId: string): void
  close(): void
}

/** Of an analysis that another process ended: nobody here is told to forget its text. */
const KEEP_MS = 60_000

export function createTexts(documents: Documents, { keepMs = KEEP_MS } = {}): Texts {
  const kept = new Map<string, { readonly source: SourceText; readonly timer: NodeJS.Timeout }>()

  function forget(id: string): void {
    clearTimeout(kept.get(id)?.timer)
    kept.delete(id)
  }

  return {
    async read({ id, documentId, documentVersion, tenantId, textSha256 }, signal) {
      const source =
        kept.get(id)?.source ?? (await documents.text(documentId, documentVersion, { tenantId, signal }))
      if (textSha256 !== undefined && source.textSha256 !== textSha256)
        throw new Error(`the text of version ${documentVersion} of document ${documentId} has changed`)
      forget(id)
      kept.set(id, { source, timer: setTimeout(() => forget(id), keepMs).unref() })
      return source
    },
    forget,
    close() {
      for (const id of [...kept.keys()]) forget(id)
    },
  }
}
