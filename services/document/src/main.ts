import { tmpdir } from 'node:os'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { connectEvents } from '@docmesh/events'
import { openPostgres } from '@docmesh/postgres'
import { implement } from '@docmesh/rpc'
import { runService } from '@docmesh/service'
import { openBlobs } from './blobs.ts'
import { createDocuments } from './documents.ts'
import { env } from './env.ts'
import { removeLeftFolders } from './extract/folders.ts'
import { createExtractionPool } from './extract/pool.ts'
import { createExtractions } from './extractions.ts'
import { documentHandlers } from './handlers.ts'
import { sweepOrphans } from './orphans.ts'
import { documentStore } from './store.ts'
import { createUploads } from './uploads.ts'

const migrations = new URL('../migrations', import.meta.url)

await runService('document', env, async ({ env, own, logger, metrics, health, clock, ids }) => {
  const { databaseUrl: url, natsUrl, natsStream: stream, maxBytes, maxPages } = env
  const onError = (err: Error): void => logger.warn({ err }, 'connection trouble')
  const db = own(
    await openPostgres({
      url,
      schema: 'document',
      migrations,
      metrics,
      onError,
      poolMax: env.databasePoolMax,
    }),
  )
  const { publish, erase } = own(await connectEvents({ db, natsUrl, stream, metrics, onError }))
  const blobs = await openBlobs(env.blobDir)
  await removeLeftFolders(tmpdir())
  const pool = own(
    createExtractionPool({
      workers: env.extractionWorkers,
      wallMs: env.extractionWallMs,
      memoryBytes: env.extractionMemoryBytes,
      maxBytes,
      maxPages,
    }),
  )
  const store = documentStore(db)
  const deps = { store, blobs, publish, erase, clock, ids }
  const documents = createDocuments(deps)
  const uploads = createUploads({ ...deps, maxBytes })
  const extractions = createExtractions({ ...deps, pool, metrics })
  const ending = new AbortController()
  const sweep = async (): Promise<void> => {
    await uploads.sweep()
    const contents = await sweepOrphans(deps, { ageMs: env.orphanAgeMs, signal: ending.signal })
    if (contents > 0) logger.warn({ contents }, 'removed contents that belonged to no document')
  }
  const tidy = (): Promise<void> => sweep().catch((err) => logger.warn({ err }, 'cannot sweep the blobs'))
  const sweeping = setInterval(tidy, env.orphanAgeMs).unref()
  void tidy()
  health.register({ name: 'postgres', critical: true, check: () => db.ping() })
  health.register({ name: 'blobs', critical: true, check: () => blobs.probe() })
  return {
    serve: [
      implement(DocumentServiceDefinition, documentHandlers({ documents, uploads, extractions, metrics })),
    ],
    stopping() {
      clearInterval(sweeping)
      ending.abort()
    },
  }
})
