/** What callers may say of a document. */
export interface Description {
  readonly name: string
  readonly tags: readonly string[]
  readonly attributes: Readonly<Record<string, string>>
}

/** A document as the domain knows it. */
export interface Document extends Description {
  readonly id: string
  readonly tenantId: string
  readonly ownerId: string
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

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Lower case, as ids are given out: they name aggregates and locks too, where case would tell two apart. */
export const isId = (value: string): boolean => UUID.test(value)

export const MAX_NAME = 255
const MAX_TAGS = 50
const MAX_ATTRIBUTES = 50

/** One to `MAX_NAME` characters that a database takes. */
export const isText = (value: string): boolean =>
  value !== '' && value.length <= MAX_NAME && isStorable(value)

/** PostgreSQL has no character 0. */
export const isStorable = (value: string): boolean => !value.includes('\0')

/** A time that google.protobuf.Timestamp may hold; clients can send others, which no database takes. */
export const isTimestamp = (time: Date): boolean =>
  time.getTime() >= Date.parse('0001-01-01T00:00:00Z') &&
  time.getTime() < Date.parse('+010000-01-01T00:00:00Z')

/** What is wrong with the fields that are there. */
export function descriptionFaults({ name, tags = [], attributes = {} }: Partial<Description>) {
  const faults: { field: string; description: string }[] = []
  const entries = Object.entries(attributes)
  if (name !== undefined && !(isText(name) && name.trim() !== ''))
    faults.push({ field: 'name', description: `1 to ${MAX_NAME} characters` })
  if (tags.length > MAX_TAGS || !tags.every(isText))
    faults.push({ field: 'tags', description: `at most ${MAX_TAGS} of 1 to ${MAX_NAME} characters` })
  if (entries.length > MAX_ATTRIBUTES || !entries.every(([key, value]) => isText(key) && isStorable(value)))
    faults.push({
      field: 'attributes',
      description: `at most ${MAX_ATTRIBUTES}, with keys of 1 to ${MAX_NAME} characters`,
    })
  return faults
}
