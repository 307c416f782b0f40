import { fileURLToPath } from 'node:url'
import { AnalysisServiceDefinition } from '@docmesh/contracts/analysis/v1/analysis'
import { BatchServiceDefinition } from '@docmesh/contracts/analysis/v1/batch'
import { RulePackServiceDefinition } from '@docmesh/contracts/analysis/v1/rule_pack'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { connectEvents } from '@docmesh/events'
import { openPostgres } from '@docmesh/postgres'
import { implement } from '@docmesh/rpc'
import { runService } from '@docmesh/service'
import { createAnalyses } from './analyses.ts'
import { openChanges } from './changes.ts'
import { documentsOver } from './documents.ts'
import { env } from './env.ts'
import { subscribeErasure } from './erasure.ts'
import { analysisHandlers } from './handlers.ts'
import { openPacks } from './packs.ts'
import { createPipeline } from './pipeline.ts'
import { createReports } from './reports.ts'
import { rulePackHandlers } from './rule-pack-handlers.ts'
import { analysisStore } from './store.ts'
import { startWorker, type Worker } from './worker.ts'

const migrations = new URL('../migrations', import.meta.url)
const packFolder = fileURLToPath(new URL('../packs', import.meta.url))

await runService(
  'analysis',
  env,
  async ({ env, own, logger, metrics, health, mesh, clock, ids, instanceId }) => {
    const { databaseUrl: url, natsUrl, natsStream: stream, concurrency, leaseMs } = env
    const onError = (err: Error): void => logger.warn({ err }, 'connection trouble')
    const packs = await openPacks(packFolder)
    const db = own(
      await openPostgres({
        url,
        schema: 'analysis',
        migrations,
        metrics,
        onError,
        poolMax: env.databasePoolMax,
      }),
    )
    const events = own(await connectEvents({ db, natsUrl, stream, metrics, onError }))
    const { publish } = events
    const store = analysisStore(db)
    const changes = own(await openChanges(store))
    const documents = documentsOver(mesh.client(DocumentServiceDefinition, 'document'))
    const analyses = createAnalyses({ store, changes, documents, packs, publish, clock, ids })
    const pipeline = createPipeline({ store, documents, packs, publish, metrics, logger, clock })
    health.register({ name: 'postgres', critical: true, check: () => db.ping() })
    let worker: Worker | undefined
    return {
      serve: [
        implement(AnalysisServiceDefinition, analysisHandlers(analyses, createReports(analyses, documents))),
        implement(RulePackServiceDefinition, rulePackHandlers(packs)),
        implement(BatchServiceDefinition, {}),
      ],
      dependencies: ['document'],
      started() {
        worker = startWorker({
          store,
          changes,
          pipeline,
          metrics,
          logger,
          clock,
          owner: instanceId,
          concurrency,
          leaseMs,
        })
        subscribeErasure(events, store)
      },
      stopping: () => worker?.stop(),
    }
  },
)
