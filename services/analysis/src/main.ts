import { fileURLToPath } from 'node:url'
import { AnalysisServiceDefinition } from '@docmesh/contracts/analysis/v1/analysis'
import { BatchServiceDefinition } from '@docmesh/contracts/analysis/v1/batch'
import { RulePackServiceDefinition } from '@docmesh/contracts/analysis/v1/rule_pack'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { JobServiceDefinition } from '@docmesh/contracts/ops/v1/job'
import { connectEvents } from '@docmesh/events'
import { openPostgres } from '@docmesh/postgres'
import { implement } from '@docmesh/rpc'
import { runService } from '@docmesh/service'
import { subscribeBatchErasure } from './batch/erasure.ts'
import { batchHandlers } from './batch/handlers.ts'
import { documentsOver } from './documents.ts'
import { openEngine } from './engine.ts'
import { env } from './env.ts'
import { subscribeErasure } from './erasure.ts'
import { analysisHandlers } from './handlers.ts'
import { jobHandlers } from './job/handlers.ts'
import { openPacks } from './packs.ts'
import { observeQueueDepth } from './queue-depth.ts'
import { createReports } from './reports.ts'
import { rulePackHandlers } from './rule-pack-handlers.ts'
import { analysisStore } from './store.ts'
import { createTexts } from './texts.ts'

const migrations = new URL('../migrations', import.meta.url)
const packFolder = fileURLToPath(new URL('../packs', import.meta.url))

await runService('analysis', env, async ({ env, own, logger, metrics, health, mesh, clock, ids }) => {
  const { databaseUrl: url, databasePoolMax: poolMax, natsUrl, natsStream: stream, concurrency } = env
  const onError = (err: Error): void => logger.warn({ err }, 'connection trouble')
  const packs = await openPacks(packFolder)
  const db = own(await openPostgres({ url, schema: 'analysis', migrations, metrics, onError, poolMax }))
  const events = own(await connectEvents({ db, natsUrl, stream, metrics, onError }))
  const { publish } = events
  const store = analysisStore(db)
  const documents = documentsOver(mesh.client(DocumentServiceDefinition, 'document'))
  const texts = own(createTexts(documents))
  const deps = { db, store, documents, texts, packs, publish, metrics, logger, clock, ids, concurrency }
  const { analyses, batches, workflows, ...engine } = own(await openEngine(deps))
  own(observeQueueDepth(store, { metrics, logger }))
  health.register({ name: 'postgres', critical: true, check: () => db.ping() })
  return {
    serve: [
      implement(AnalysisServiceDefinition, analysisHandlers(analyses, createReports(analyses, documents))),
      implement(RulePackServiceDefinition, rulePackHandlers(packs)),
      implement(BatchServiceDefinition, batchHandlers(batches, { clock })),
      implement(JobServiceDefinition, jobHandlers(workflows.jobs)),
    ],
    dependencies: ['document'],
    started() {
      subscribeErasure(events, { store, workflows, texts })
      subscribeBatchErasure(events, batches)
    },
    stopping: () => engine.stop(),
  }
})
