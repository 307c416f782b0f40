/** A document as the domain knows it. */
export interface Document {
  readonly id: string
  readonly tenantId: string
  readonly ownerId: string
  readonly name: string
  readonly tags: readonly string[]
  readonly attributes: Readonly<Record<string, string>>
  readonly createdAt: Date
  readonly updatedAt: Date
  /** Grows with every change of the description. */
  readonly revision: string
  readonly currentVersion: DocumentVersion
}

export interface DocumentVersion {
  readonly documentId: string
  readonly number: number
  readonly sha256: string
  readonly sizeBytes: number
  readonly mediaType: string
  readonly extraction: Extraction
  readonly createdAt: Date
}

export type Extraction =
  | { readonly state: 'pending' | 'running' }
  | { readonly state: 'extracted'; readonly pageCount: number; readonly language: string }
  | { readonly state: 'unreadable'; readonly failure: string; readonly error: string }

/** Who asks. */
export interface Caller {
  readonly userId: string
  readonly tenantId: string
  readonly requestId: string
}

export interface ErasureReceipt {
  readonly id: string
  readonly documentId: string
  readonly contentSha256: readonly string[]
  readonly reason: string
  readonly erasedAt: Date
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

export const isId = (value: string): boolean => UUID.test(value)
