// Document messages ↔ domain.
import {
  type Document as DocumentMessage,
  ExtractionState,
  TextLayout,
  type DocumentVersion as VersionMessage,
} from '@docmesh/contracts/document/v1/document'
import type { Document, DocumentVersion, ErasureReceipt, Extraction } from './document.ts'

const STATES: Readonly<Record<Extraction['state'], ExtractionState>> = {
  pending: ExtractionState.PENDING,
  running: ExtractionState.RUNNING,
  extracted: ExtractionState.EXTRACTED,
  unreadable: ExtractionState.UNREADABLE,
}

export const documentMessage = (document: Document): DocumentMessage => ({
  id: document.id,
  tenantId: document.tenantId,
  ownerId: document.ownerId,
  name: document.name,
  tags: [...document.tags],
  attributes: { ...document.attributes },
  currentVersion: versionMessage(document.currentVersion),
  createdAt: document.createdAt,
  updatedAt: document.updatedAt,
  etag: document.revision,
})

export const versionMessage = ({
  number,
  sha256,
  sizeBytes,
  mediaType,
  extraction,
  createdAt,
}: DocumentVersion): VersionMessage => ({
  number,
  sha256,
  sizeBytes: BigInt(sizeBytes),
  mediaType,
  extractionState: STATES[extraction.state],
  extractionError: extraction.state === 'unreadable' ? extraction.error : '',
  pageCount: extraction.state === 'extracted' ? extraction.pageCount : 0,
  language: extraction.state === 'extracted' ? extraction.language : '',
  createdAt,
})

export const receiptMessage = (receipt: ErasureReceipt) => ({
  ...receipt,
  contentSha256: [...receipt.contentSha256],
})

export const encodeLayout = (layout: TextLayout): Uint8Array => TextLayout.encode(layout).finish()

export const decodeLayout = (bytes: Uint8Array): TextLayout => TextLayout.decode(bytes)
