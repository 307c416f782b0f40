import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { basename, join, relative, sep } from 'node:path'
import type { Queryable } from '@docmesh/postgres'

const STAGING = 'staging'

/** Contents that no version refers to, and versions whose content is gone. What is staged may be resumed and is no matter. */
export async function checkBlobs(db: Queryable, blobDir: string): Promise<string[]> {
  const entries = await readdir(blobDir, { recursive: true, withFileTypes: true })
  const stored = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(blobDir, `${parentPath}${sep}${name}`))
    .filter((path) => path.split(sep)[0] !== STAGING)
  const names = new Set(stored.map((path) => basename(path)))
  const versions = await db.query<{ document_id: string; number: number; sha256: string }>(
    'select document_id, number, sha256 from document.versions',
  )
  const wanted = new Set(versions.map(({ sha256 }) => sha256))
  const digests = await Promise.all(
    stored.map(async (path) => ({ path, sha256: await sha256Of(join(blobDir, path)) })),
  )
  return [
    ...digests
      .filter(
        ({ path, sha256 }) => sha256 !== undefined && wanted.has(basename(path)) && basename(path) !== sha256,
      )
      .map(({ path }) => `blob ${path} is not what its name says`),
    ...stored
      .filter((path) => !wanted.has(basename(path)))
      .map((path) => `blob ${path} belongs to no document`),
    ...versions
      .filter(({ sha256 }) => !names.has(sha256))
      .map(
        ({ document_id, number, sha256 }) => `version ${number} of ${document_id} has lost blob ${sha256}`,
      ),
  ]
}

/** Undefined for one that was removed meanwhile. */
const sha256Of = (path: string): Promise<string | undefined> =>
  readFile(path).then(
    (bytes) => createHash('sha256').update(bytes).digest('hex'),
    () => undefined,
  )
