import { randomUUID } from 'node:crypto'
import { type Batch, CancelBatchResponse, ListBatchesResponse } from '@docmesh/contracts/analysis/v1/batch'
import { Command, Option } from 'commander'
import { createBatchProgress } from '../batch/progress.ts'
import { analysesOf, present, watchBatch } from '../batch/run.ts'
import { BATCH_STATES, type BatchSummary, scoreText, summaryJson, summaryText } from '../batch/summary.ts'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText, morePages, type PageOptions, withPaging } from '../paging.ts'
import { LOCALES, type Locale } from '../render/labels.ts'
import { table } from '../render/table.ts'
import { timeText } from '../render/text.ts'

interface ShowOptions extends GlobalOptions {
  readonly json?: boolean
  readonly locale: Locale
}

export function batchesCommand(cli: Cli): Command {
  const { io } = cli
  const inMesh = <O extends GlobalOptions>(
    work: (session: MeshSession, options: O, id: string) => Promise<void>,
  ) =>
    ending<O>(cli, async (options, id = '') => {
      await withMesh(cli, options, (session) => work(session, options, id))
      return EXIT.ok
    })
  const print = async (session: MeshSession, batch: Batch, { json, locale }: ShowOptions): Promise<void> => {
    const summary = await summaryOf(session, batch)
    io.stdout.write(json ? jsonText(summaryJson(summary)) : summaryText(summary, locale))
  }
  const batches = new Command('batches').description('batches of documents').addHelpText(
    'after',
    `
Examples:
  docmesh batches list
  docmesh batches show 0199f3c2-… --json
  docmesh batches watch 0199f3c2-…
  docmesh batches cancel 0199f3c2-…`,
  )
  const withBatch = (name: string, description: string): Command =>
    batches
      .command(name)
      .description(description)
      .argument('<id>', 'id of the batch')
      .option('--json', 'JSON')
      .addOption(new Option('--locale <locale>', 'language of the results').choices(LOCALES).default('en'))

  withPaging(batches.command('list').description('list batches, newest first')).action(
    inMesh<PageOptions>(async (session, { pageSize = 0, pageToken = '', json }) => {
      const page = await session.batches.listBatches({ pageSize, pageToken })
      io.stdout.write(json ? jsonText(ListBatchesResponse.toJSON(page)) : batchTable(page.batches))
      morePages(io, page)
    }),
  )
  withBatch('show', 'show a batch with its worst documents and what went wrong').action(
    inMesh<ShowOptions>(async (session, options, batchId) => {
      await print(session, present((await session.batches.getBatch({ batchId })).batch), options)
    }),
  )
  withBatch('watch', 'follow a batch to its end, and sum up').action(
    inMesh<ShowOptions>(async (session, options, batchId) => {
      const progress = createBatchProgress(io.stderr, '', () => performance.now())
      try {
        await print(session, await watchBatch(session.batches, batchId, progress.analyses), options)
      } finally {
        progress.end()
      }
    }),
  )
  batches
    .command('cancel')
    .description('cancel what has not ended')
    .argument('<id>', 'id of the batch')
    .option('--json', 'proto3 JSON')
    .action(
      inMesh<PageOptions>(async (session, { json }, batchId) => {
        const answer = await session.batches.cancelBatch({ batchId, requestId: randomUUID() })
        const { completed, failed, cancelled } = present(answer.batch)
        io.stdout.write(
          json
            ? jsonText(CancelBatchResponse.toJSON(answer))
            : `cancelled ${cancelled} of batch ${batchId}; ${completed} completed and ${failed} failed before\n`,
        )
      }),
    )
  return batches
}

async function summaryOf({ analyses }: MeshSession, batch: Batch): Promise<BatchSummary> {
  const byDocument = await analysesOf(analyses, batch.id)
  const outcomes = [...byDocument.values()].map((analysis) => ({
    file: analysis.documentName || analysis.documentId,
    documentId: analysis.documentId,
    analysis,
  }))
  return { batch, outcomes, refused: [] }
}

function batchTable(batches: readonly Batch[]): string {
  const rows = batches.map((batch) => [
    batch.id,
    batch.name || '-',
    BATCH_STATES[batch.state],
    `${batch.completed + batch.failed + batch.cancelled}/${batch.total}`,
    String(batch.failed),
    scoreText(batch.meanScore),
    timeText(batch.createdAt),
  ])
  return table(['ID', 'NAME', 'STATE', 'ENDED', 'FAILED', 'MEAN SCORE', 'CREATED (UTC)'], rows)
}
