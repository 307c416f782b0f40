import type { DocumentServiceDefinition, TextLayout } from '@docmesh/contracts/document/v1/document'
import { type Client, invalidRequest, RpcError, rpcError } from '@docmesh/rpc'
import type { DocumentText } from './rules/document-text.ts'

export interface DocumentHead {
  readonly name: string
  readonly version: number
}

export interface SourceText {
  readonly document: DocumentText
  /** Of the file. */
  readonly sha256: string
  /** Of the canonical text, in UTF-8. */
  readonly textSha256: string
}

/** For work that no caller waits for. */
export interface OnBehalf {
  readonly tenantId: string
  readonly signal: AbortSignal
}

/** What the analysis needs of the document service. */
export interface Documents {
  /** Version 0 is the current one. Without `onBehalf` as who calls us. Throws DOCUMENT_NOT_FOUND. */
  head(id: string, version: number, onBehalf?: OnBehalf): Promise<DocumentHead>
  /** Throws DOCUMENT_NOT_FOUND or DOCUMENT_UNREADABLE. */
  text(id: string, version: number, onBehalf: OnBehalf): Promise<SourceText>
}

/** Above the time that the document service itself gives to one document, waiting for a free worker included. */
export const EXTRACT_TIMEOUT_MS = 180_000

const callOptions = ({ tenantId, signal }: OnBehalf) => ({
  signal,
  metadata: { 'docmesh-tenant-id': tenantId },
})

export function documentsOver(client: Client<typeof DocumentServiceDefinition>): Documents {
  return {
    async head(documentId, version, onBehalf) {
      const { document } = await client
        .getDocument({ documentId }, onBehalf && callOptions(onBehalf))
        .catch((error) => relay(error, documentId))
      const current = document?.currentVersion?.number ?? 0
      if (version < 0 || version > current) {
        throw invalidRequest([{ field: 'document_version', description: `write 0 to ${current}` }])
      }
      return { name: document?.name ?? '', version: version || current }
    },
    async text(documentId, version, onBehalf) {
      const options = { ...callOptions(onBehalf), timeoutMs: EXTRACT_TIMEOUT_MS }
      try {
        return await collect(client.extractText({ documentId, version }, options))
      } catch (error) {
        return relay(error, documentId)
      }
    },
  }
}

/** What the document service says of a document is our caller's to know; all else is a dependency's trouble. */
function relay(error: unknown, id: string): never {
  if (error instanceof RpcError && error.reason === 'DOCUMENT_NOT_FOUND') {
    throw rpcError('DOCUMENT_NOT_FOUND', `No document has the id "${id}".`, {
      resource: { type: 'document', name: id },
    })
  }
  if (error instanceof RpcError && error.reason === 'DOCUMENT_UNREADABLE') {
    throw rpcError(
      'DOCUMENT_UNREADABLE',
      error.message,
      error.options.metadata ? { metadata: error.options.metadata } : {},
    )
  }
  throw error
}

async function collect(
  parts: ReturnType<Client<typeof DocumentServiceDefinition>['extractText']>,
): Promise<SourceText> {
  let layout: TextLayout | undefined
  const chunks: string[] = []
  for await (const { part } of parts) {
    if (part?.$case === 'layout') layout = part.value
    else if (part?.$case === 'text') chunks.push(part.value)
  }
  if (!layout?.version) throw new Error('The document service sent no layout.')
  const { version, textSha256, pages, blocks, signals, properties, length } = layout
  const text = chunks.join('')
  if (text.length !== length)
    throw new Error(`The text has ${text.length} code units, its layout says ${length}.`)
  return {
    sha256: version.sha256,
    textSha256,
    document: {
      mediaType: version.mediaType,
      text,
      pages,
      blocks: blocks.map(({ kind, level, start, end, page, box }) => ({
        kind,
        start,
        end,
        page,
        ...(level > 0 && { level }),
        ...(box && { box }),
      })),
      signals: signals.map(({ kind, detail, page, start, end }) => ({
        kind,
        detail,
        ...(page > 0 && { page }),
        ...(start !== undefined && { start }),
        ...(end !== undefined && { end }),
      })),
      properties,
    },
  }
}
