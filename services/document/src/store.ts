import type { Postgres, Queryable } from '@docmesh/postgres'
import type { Document, DocumentVersion, ErasureReceipt, Extraction } from './document.ts'

export interface DocumentFilter {
  readonly tags: readonly string[]
  readonly nameContains: string
  readonly mediaType: string
  readonly createdAfter: Date | undefined
  readonly createdBefore: Date | undefined
}

export interface StoredText {
  readonly text: string
  /** TextLayout message, encoded. */
  readonly layout: Uint8Array
}

interface DocumentRow {
  id: string
  tenant_id: string
  owner_id: string
  name: string
  tags: string[]
  attributes: Record<string, string>
  document_created_at: Date
  updated_at: Date
  revision: bigint
}

interface VersionRow {
  document_id: string
  number: number
  sha256: string
  size_bytes: bigint
  media_type: string
  extraction_state: 'pending' | 'running' | 'extracted' | 'unreadable'
  extraction_failure: string | null
  extraction_error: string | null
  page_count: number
  language: string
  created_at: Date
}

const DOCUMENT = `select d.id, d.tenant_id, d.owner_id, d.name, d.tags, d.attributes, d.created_at as document_created_at,
  d.updated_at, d.revision, v.* from documents d join versions v on v.document_id = d.id and v.number = d.current_version`

/** All SQL of the document service. */
export type DocumentStore = ReturnType<typeof documentStore>

export function documentStore(db: Postgres) {
  return {
    transaction: db.transaction,

    async insert(tx: Queryable, document: Omit<Document, 'revision'>): Promise<void> {
      await tx.query(
        `insert into documents (id, tenant_id, owner_id, name, tags, attributes, current_version, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
        [
          document.id,
          document.tenantId,
          document.ownerId,
          document.name,
          document.tags,
          JSON.stringify(document.attributes),
          document.currentVersion.number,
          document.createdAt,
          document.updatedAt,
        ],
      )
    },

    async insertVersion(tx: Queryable, version: DocumentVersion): Promise<void> {
      await tx.query(
        'insert into versions (document_id, number, sha256, size_bytes, media_type, created_at) values ($1, $2, $3, $4, $5, $6)',
        [
          version.documentId,
          version.number,
          version.sha256,
          version.sizeBytes,
          version.mediaType,
          version.createdAt,
        ],
      )
    },

    async setCurrentVersion(tx: Queryable, id: string, number: number, at: Date): Promise<void> {
      await tx.query(
        'update documents set current_version = $2, updated_at = $3, revision = revision + 1 where id = $1',
        [id, number, at],
      )
    },

    async recordUpload(
      tx: Queryable,
      tenantId: string,
      requestId: string,
      { documentId, number, createdAt }: DocumentVersion,
    ): Promise<void> {
      await tx.query(
        'insert into uploads (tenant_id, request_id, document_id, version, completed_at) values ($1, $2, $3, $4, $5)',
        [tenantId, requestId, documentId, number, createdAt],
      )
    },

    /** The document of a completed upload. */
    async findUpload(on: Queryable, tenantId: string, requestId: string): Promise<string | undefined> {
      const [row] = await on.query<{ document_id: string }>(
        'select document_id from uploads where tenant_id = $1 and request_id = $2',
        [tenantId, requestId],
      )
      return row?.document_id
    },

    /** Serialises everybody who adds or removes references to one content, until the transaction ends. */
    async lockContent(tx: Queryable, sha256: string): Promise<void> {
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7))', [sha256])
    },

    async isReferenced(tx: Queryable, sha256: string): Promise<boolean> {
      const rows = await tx.query('select 1 from versions where sha256 = $1 limit 1', [sha256])
      return rows.length > 0
    },

    /** Of these contents, those that nothing refers to now. */
    async unreferenced(on: Queryable, contents: readonly string[]): Promise<string[]> {
      const rows = await on.query<{ sha256: string }>(
        `select sha256 from unnest($1::text[]) as stored (sha256)
         where not exists (select from versions v where v.sha256 = stored.sha256)`,
        [contents],
      )
      return rows.map(({ sha256 }) => sha256)
    },

    /** Runs the work unless an instance is at it already; undefined then. */
    alone: <T>(work: (tx: Queryable) => Promise<T>): Promise<T | undefined> =>
      db.transaction(async (tx) => {
        const [row] = await tx.query<{ mine: boolean }>(
          "select pg_try_advisory_xact_lock(hashtextextended('contents', 8)) as mine",
        )
        return row?.mine ? work(tx) : undefined
      }),

    /** Whether the tenant has the content; that others have it is not for it to know. */
    async hasContent(tx: Queryable, tenantId: string, sha256: string): Promise<boolean> {
      const rows = await tx.query(
        'select 1 from versions v join documents d on d.id = v.document_id where v.sha256 = $1 and d.tenant_id = $2 limit 1',
        [sha256, tenantId],
      )
      return rows.length > 0
    },

    async get(
      on: Queryable,
      tenantId: string,
      id: string,
      { lock = false } = {},
    ): Promise<Document | undefined> {
      // A statement of its own: a join that waits for the lock would look for the version that was current before.
      if (lock)
        await on.query('select from documents where tenant_id = $1 and id = $2 for update', [tenantId, id])
      const [row] = await on.query<DocumentRow & VersionRow>(
        `${DOCUMENT} where d.tenant_id = $1 and d.id = $2`,
        [tenantId, id],
      )
      return row && documentOf(row)
    },

    /** One more than `limit` when there are more. */
    async list(tenantId: string, filter: DocumentFilter, after: string, limit: number): Promise<Document[]> {
      const rows = await db.query<DocumentRow & VersionRow>(
        `${DOCUMENT} where d.tenant_id = $1 and ($2::uuid is null or d.id < $2) and d.tags @> $3
           and ($4 = '' or position(lower($4) in lower(d.name)) > 0) and ($5 = '' or v.media_type = $5)
           and ($6::timestamptz is null or d.created_at >= $6) and ($7::timestamptz is null or d.created_at < $7)
         order by d.id desc limit $8`,
        [
          tenantId,
          after || null,
          filter.tags,
          filter.nameContains,
          filter.mediaType,
          filter.createdAfter ?? null,
          filter.createdBefore ?? null,
          limit + 1,
        ],
      )
      return rows.map(documentOf)
    },

    async version(on: Queryable, id: string, number: number): Promise<DocumentVersion | undefined> {
      const [row] = await on.query<VersionRow>(
        'select * from versions where document_id = $1 and number = $2',
        [id, number],
      )
      return row && versionOf(row)
    },

    /** Newest first, one more than `limit` when there are more. */
    async versions(on: Queryable, id: string, before: number, limit: number): Promise<DocumentVersion[]> {
      const rows = await on.query<VersionRow>(
        'select * from versions where document_id = $1 and number < $2 order by number desc limit $3',
        [id, before, limit + 1],
      )
      return rows.map(versionOf)
    },

    /** Until the transaction ends nobody else changes the document or says anything of it; false when it is gone. */
    async lock(tx: Queryable, id: string): Promise<boolean> {
      return (await tx.query('select from documents where id = $1 for update', [id])).length > 0
    },

    async update(tx: Queryable, { id, name, tags, attributes, updatedAt }: Document): Promise<void> {
      await tx.query(
        'update documents set name = $2, tags = $3, attributes = $4, updated_at = $5, revision = revision + 1 where id = $1',
        [id, name, tags, JSON.stringify(attributes), updatedAt],
      )
    },

    async markRunning({ documentId, number }: DocumentVersion): Promise<void> {
      await db.query(
        "update versions set extraction_state = 'running' where document_id = $1 and number = $2 and extraction_state = 'pending'",
        [documentId, number],
      )
    },

    /** False when another instance was first, or the document is gone. */
    async saveText(
      tx: Queryable,
      { documentId, number }: DocumentVersion,
      { text, layout }: StoredText,
      pageCount: number,
      language: string,
    ): Promise<boolean> {
      const changed = await tx.query(
        `update versions set extraction_state = 'extracted', page_count = $3, language = $4
         where document_id = $1 and number = $2 and extraction_state in ('pending', 'running') returning number`,
        [documentId, number, pageCount, language],
      )
      if (changed.length === 0) return false
      await tx.query('insert into texts (document_id, version, text, layout) values ($1, $2, $3, $4)', [
        documentId,
        number,
        text,
        layout,
      ])
      return true
    },

    /** False when another instance was first, or the document is gone. */
    async saveUnreadable(
      tx: Queryable,
      { documentId, number }: DocumentVersion,
      failure: string,
      error: string,
    ): Promise<boolean> {
      const changed = await tx.query(
        `update versions set extraction_state = 'unreadable', extraction_failure = $3, extraction_error = $4
         where document_id = $1 and number = $2 and extraction_state in ('pending', 'running') returning number`,
        [documentId, number, failure, error],
      )
      return changed.length > 0
    },

    async text({ documentId, number }: DocumentVersion): Promise<StoredText | undefined> {
      const [row] = await db.query<StoredText>(
        'select text, layout from texts where document_id = $1 and version = $2',
        [documentId, number],
      )
      return row
    },

    /** Removes the document with everything that belongs to it; returns the hashes of its contents. */
    async remove(tx: Queryable, id: string): Promise<string[]> {
      const rows = await tx.query<{ sha256: string }>(
        'select distinct sha256 from versions where document_id = $1 order by 1',
        [id],
      )
      await tx.query('delete from documents where id = $1', [id])
      return rows.map(({ sha256 }) => sha256)
    },

    async insertReceipt(
      tx: Queryable,
      tenantId: string,
      { id, documentId, contentSha256, reason, erasedAt }: ErasureReceipt,
    ): Promise<void> {
      await tx.query(
        'insert into receipts (id, tenant_id, document_id, content_sha256, reason, erased_at) values ($1, $2, $3, $4, $5, $6)',
        [id, tenantId, documentId, contentSha256, reason, erasedAt],
      )
    },

    async receipt(on: Queryable, tenantId: string, documentId: string): Promise<ErasureReceipt | undefined> {
      const [row] = await on.query<{ id: string; content_sha256: string[]; reason: string; erased_at: Date }>(
        'select id, content_sha256, reason, erased_at from receipts where tenant_id = $1 and document_id = $2',
        [tenantId, documentId],
      )
      return (
        row && {
          id: row.id,
          documentId,
          contentSha256: row.content_sha256,
          reason: row.reason,
          erasedAt: row.erased_at,
        }
      )
    },

    query: db.query,
  }
}

const documentOf = (row: DocumentRow & VersionRow): Document => ({
  id: row.id,
  tenantId: row.tenant_id,
  ownerId: row.owner_id,
  name: row.name,
  tags: row.tags,
  attributes: row.attributes,
  createdAt: row.document_created_at,
  updatedAt: row.updated_at,
  revision: String(row.revision),
  currentVersion: versionOf(row),
})

const versionOf = (row: VersionRow): DocumentVersion => ({
  documentId: row.document_id,
  number: row.number,
  sha256: row.sha256,
  sizeBytes: Number(row.size_bytes),
  mediaType: row.media_type,
  extraction: extractionOf(row),
  createdAt: row.created_at,
})

function extractionOf(row: VersionRow): Extraction {
  switch (row.extraction_state) {
    case 'extracted':
      return { state: 'extracted', pageCount: row.page_count, language: row.language }
    case 'unreadable':
      return { state: 'unreadable', failure: row.extraction_failure ?? '', error: row.extraction_error ?? '' }
    default:
      return { state: row.extraction_state }
  }
}
