import { dataEnv, integer, text } from '@docmesh/service'

export const env = {
  ...dataEnv,
  blobDir: text('BLOB_DIR', {
    doc: 'Folder for the contents of documents, of one database; all instances share it.',
  }),
  orphanAgeMs: integer('BLOB_ORPHAN_AGE_MS', {
    fallback: '3600000',
    min: 1_000,
    max: 86_400_000,
    doc: 'Milliseconds for which contents may lie without a document; looked for as often.',
  }),
  maxBytes: integer('DOCUMENT_MAX_BYTES', {
    fallback: String(50 * 1024 * 1024),
    min: 1,
    max: 2 ** 31 - 1,
    doc: 'Largest document in bytes.',
  }),
  maxPages: integer('DOCUMENT_MAX_PAGES', {
    fallback: '2000',
    min: 1,
    max: 100_000,
    doc: 'Most pages that are read.',
  }),
  extractionWorkers: integer('EXTRACTION_WORKERS', {
    fallback: '2',
    min: 1,
    max: 64,
    doc: 'Documents read at the same time.',
  }),
  extractionWallMs: integer('EXTRACTION_WALL_MS', {
    fallback: '60000',
    min: 100,
    max: 3_600_000,
    doc: 'Milliseconds that reading one document may take.',
  }),
  extractionMemoryBytes: integer('EXTRACTION_MEMORY_BYTES', {
    fallback: String(1024 ** 3),
    min: 64 * 1024 ** 2,
    max: 2 ** 40,
    doc: 'Bytes of memory that reading one document may take.',
  }),
} as const
