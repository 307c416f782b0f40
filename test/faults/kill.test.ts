import { AnalysisState } from '@docmesh/contracts/analysis/v1/analysis'
import { NotificationServiceDefinition } from '@docmesh/contracts/notification/v1/notification'
import { openPostgres } from '@docmesh/postgres'
import { eventually } from '@docmesh/testing'
import { describe, expect, it } from 'vitest'
import { analyze, upload } from '../e2e/analyze.ts'
import { type ServiceName, START_MS, startFleet } from '../e2e/fleet.ts'

const ANALYSES = 10
const TWO_OF_EACH = { registry: 2, document: 2, analysis: 2, notification: 2 }

/** Long enough to be killed in the middle of. */
const longDocument = (seed: number): Buffer => {
  const clause = (number: number): string =>
    `## Cláusula ${number}\n\nA contratada ${seed} prestará os serviços no prazo de ${number} dias, ao preço de R$ ${number}.000,00, sob pena de multa.\n`
  return Buffer.from(
    `# Contrato de prestação de serviços ${seed}\n\n${Array.from({ length: 2_000 }, (_, at) => clause(at + 1)).join('\n')}`,
  )
}

describe('two instances of each service, kill -9 of one while ten analyses run', () => {
  it.each<ServiceName>(['analysis', 'document', 'registry', 'notification'])(
    'completes all ten when a %s dies, and tells of each once',
    async (service) => {
      await using fleet = await startFleet({ instances: TWO_OF_EACH })
      const { mesh } = fleet
      const documents = await Promise.all(
        Array.from({ length: ANALYSES }, (_, at) => upload(mesh, `contract-${at}.md`, longDocument(at))),
      )
      const analyses = documents.map(({ id }, at) => analyze(mesh, id, `request-${at}`))
      await using db = await openPostgres({ url: fleet.databaseUrl, schema: 'analysis', poolMax: 1 })
      const started = await eventually(async () => {
        const [row] = await db.query<{ running: bigint }>(
          "select count(*) as running from analyses where state <> 'queued'",
        )
        if (Number(row?.running) === 0) throw new Error('nothing runs yet')
        return Number(row?.running)
      })
      expect(started).toBeGreaterThan(0)
      fleet.one(service).process.kill('SIGKILL')

      const ended = await Promise.all(analyses)
      expect(ended.map(({ state, failure }) => ({ state, failure }))).toEqual(
        Array.from({ length: ANALYSES }, () => ({ state: AnalysisState.COMPLETED, failure: undefined })),
      )
      const events = await db.query<{ aggregate_id: string }>(
        "select aggregate_id from events.log where type = 'docmesh.analysis.v1.AnalysisCompleted'",
      )
      expect(events.map(({ aggregate_id }) => aggregate_id).sort()).toEqual(ended.map(({ id }) => id).sort())
      const feed = mesh.client(NotificationServiceDefinition, 'notification')
      await eventually(
        async () => {
          const { notifications } = await feed.listNotifications({ pageSize: 100 })
          expect(notifications.map(({ subjectId }) => subjectId).sort()).toEqual(
            ended.map(({ id }) => id).sort(),
          )
        },
        { timeoutMs: 15_000 },
      )
    },
    START_MS,
  )
})
