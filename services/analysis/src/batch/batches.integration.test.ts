import { AnalysisOptions, AnalysisState } from '@docmesh/contracts/analysis/v1/analysis'
import { type Batch, BatchState, type WatchBatchResponse } from '@docmesh/contracts/analysis/v1/batch'
import { BatchCompleted } from '@docmesh/contracts/analysis/v1/events'
import { DocumentErased } from '@docmesh/contracts/document/v1/events'
import { Code } from '@docmesh/rpc'
import { eventually, type TestDatabase, tcpProxy, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../world.fixture.ts'
import {
  type BatchClient,
  type BatchWorld,
  documentIds,
  documentPart,
  headerPart,
  partsOf,
  startBatchWorld,
  streamOf,
} from './world.fixture.ts'

const UNKNOWN = '0190a000-0000-7000-8000-000000000000'

let database: TestDatabase
let world: BatchWorld
let client: BatchClient
beforeAll(async () => {
  database = await testDatabase()
  world = await startBatchWorld(database.url)
  client = world.client
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await database.close()
})

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the answer has no batch')
  return value
}
const wanted = (options: Partial<AnalysisOptions>): AnalysisOptions => AnalysisOptions.fromPartial(options)
const create = async (
  header: Parameters<typeof partsOf>[0],
  ids: readonly string[],
  as = client,
): Promise<Batch> => present((await as.createBatch(partsOf(header, ids))).batch)
const get = async (batchId: string): Promise<Batch> => present((await client.getBatch({ batchId })).batch)
const running = (batchId: string): Promise<string[]> => world.children(batchId, 'running')

/** Ends what runs until nothing does. */
async function drain(batchId: string, score = 80): Promise<void> {
  for (let ids = await running(batchId); ids.length > 0; ids = await running(batchId))
    await Promise.all(ids.map((id) => world.end(id, 'completed', score)))
}

const announced = async (batchId: string) =>
  (await world.events.history('batch', batchId)).map(({ payload, ...event }) => ({
    ...event,
    payload: BatchCompleted.decode(payload),
  }))

const documentsOf = async (batchId: string): Promise<string[]> => {
  const rows = await world.db.query<{ document_id: string }>(
    'select document_id from batch_documents where batch_id = $1 order by position',
    [batchId],
  )
  return rows.map(({ document_id }) => document_id)
}

/** Sends a slice, leaves when it is stored, and never ends the stream. */
async function* leavingAfter(header: { requestId: string }, ids: readonly string[], leave: () => void) {
  yield* partsOf(header, ids)
  await eventually(async () => {
    const rows = await world.db.query('select total from batches where request_id = $1', [header.requestId])
    expect(rows).toEqual([{ total: ids.length }])
  })
  leave()
  await new Promise(() => {})
}

describe('the window', () => {
  it('runs as many as asked for, in the order of the stream, and the next when one ends', async () => {
    const ids = documentIds(5)
    const batch = await create({ parallelism: 2, name: 'lote' }, ids)
    expect(batch).toMatchObject({ name: 'lote', state: BatchState.RUNNING, total: 5, completed: 0 })
    const [first = '', second = ''] = await running(batch.id)
    expect((await world.child(first)).documentId).toBe(ids[0])
    expect(await running(batch.id)).toHaveLength(2)
    await world.end(second, 'failed')
    const now = await Promise.all((await running(batch.id)).map(world.child))
    expect(now.map(({ documentId }) => documentId)).toEqual([ids[0], ids[2]])
    expect(await get(batch.id)).toMatchObject({ failed: 1, state: BatchState.RUNNING })
  })

  it('is eight wide when nobody says', async () => {
    expect(await running((await create({}, documentIds(20))).id)).toHaveLength(8)
  })

  it('gives every analysis the options of the batch, but for the notification', async () => {
    const { id } = await create(
      { options: wanted({ notify: true, locale: 'pt-BR', aiEnabled: true }) },
      documentIds(1),
    )
    const [child = ''] = await running(id)
    expect((await world.child(child)).options).toMatchObject({
      notify: false,
      locale: 'pt-BR',
      aiEnabled: true,
    })
    expect((await get(id)).options).toMatchObject({ notify: true, locale: 'pt-BR' })
  })
})

describe('the end', () => {
  it('comes with counts, mean score and one event', async () => {
    const { id } = await create(
      { name: 'lote', options: wanted({ notify: true, locale: 'pt-BR' }) },
      documentIds(4),
    )
    const [a = '', b = '', c = '', d = ''] = await running(id)
    await world.end(a, 'completed', 90)
    await world.end(b, 'completed', 71)
    await world.end(c, 'failed')
    expect(await announced(id)).toEqual([])
    await world.end(d, 'cancelled')
    expect(await get(id)).toMatchObject({
      state: BatchState.PARTIAL,
      completed: 2,
      failed: 1,
      cancelled: 1,
      meanScore: 80.5,
      estimatedRemaining: undefined,
      endedAt: expect.any(Date),
    })
    expect(await announced(id)).toMatchObject([
      {
        tenantId: 'acme',
        userId: 'ana',
        payload: {
          batchId: id,
          name: 'lote',
          total: 4,
          completed: 2,
          failed: 1,
          cancelled: 1,
          meanScore: 80.5,
          requestedBy: 'ana',
          notify: true,
          locale: 'pt-BR',
        },
      },
    ])
  })

  it('comes once when the last analyses end at the same time', async () => {
    const { id } = await create({ parallelism: 100 }, documentIds(60))
    const ids = await running(id)
    await Promise.all(ids.map((child, index) => world.end(child, index % 3 ? 'completed' : 'failed', 50)))
    expect(await get(id)).toMatchObject({ state: BatchState.PARTIAL, completed: 40, failed: 20 })
    expect(await announced(id)).toHaveLength(1)
  })

  it('is not told again when a retry mends it, but the counts are', async () => {
    const { id } = await create({}, documentIds(2))
    const [a = '', b = ''] = await running(id)
    await world.end(a, 'failed')
    await world.end(b, 'completed', 60)
    const ended = await get(id)
    expect(ended.state).toBe(BatchState.PARTIAL)
    await world.retry(a, 'completed', 100)
    expect(await get(id)).toEqual({
      ...ended,
      state: BatchState.COMPLETED,
      completed: 2,
      failed: 0,
      meanScore: 80,
    })
    expect(await announced(id)).toHaveLength(1)
  })

  it('comes when what waits can no longer start, with what was done', async () => {
    await using other = await startBatchWorld(database.url)
    const { batch } = await other.client.createBatch(partsOf({ parallelism: 2 }, documentIds(10)))
    const id = batch?.id ?? ''
    const [a = '', b = ''] = await running(id)
    other.removePacks()
    await other.end(a, 'completed', 70)
    expect(await get(id)).toMatchObject({ state: BatchState.RUNNING, completed: 1, failed: 8 })
    await other.end(b, 'completed', 70)
    expect(await get(id)).toMatchObject({ state: BatchState.PARTIAL, completed: 2, failed: 8 })
    expect(await announced(id)).toHaveLength(1)
  })

  it('comes to a batch of two thousand, each analysed once', async () => {
    const ids = documentIds(2_000)
    const { id } = await create({ parallelism: 50 }, ids)
    await drain(id)
    expect(await get(id)).toMatchObject({ state: BatchState.COMPLETED, completed: 2_000, meanScore: 80 })
    const children = await Promise.all((await world.children(id)).map(world.child))
    expect(children.map(({ documentId }) => documentId)).toEqual(ids)
    expect(await announced(id)).toHaveLength(1)
  }, 60_000)
})

describe('creating', () => {
  it('again with the request id gives the same batch with each document once', async () => {
    const ids = documentIds(3)
    const [one, two] = await Promise.all([
      create({ requestId: 'twice' }, ids),
      create({ requestId: 'twice' }, ids),
    ])
    const third = await create({ requestId: 'twice' }, [...ids, ...ids])
    expect(new Set([one.id, two.id, third.id]).size).toBe(1)
    expect(await documentsOf(one.id)).toEqual(ids)
    expect(await world.children(one.id)).toHaveLength(3)
    const elsewhere = await create({ requestId: 'twice' }, ids, world.clientAs('rival'))
    expect(elsewhere.id).not.toBe(one.id)
  })

  it('goes on with what a cut stream brought, and starts nothing before all is there', async () => {
    await using proxy = await tcpProxy(`postgres://${world.address}`)
    const ids = documentIds(1_200)
    const cut = world.clientAs('acme', `127.0.0.1:${proxy.port}`)
    const call = cut.createBatch(
      (async function* () {
        yield headerPart({ requestId: 'cut' })
        yield* streamOf(ids.slice(0, 1_100).map(documentPart))
        await eventually(async () => {
          const [row] = await world.db.query("select total from batches where request_id = 'cut'")
          expect(row).toEqual({ total: 1_000 })
        })
        proxy.cut()
        await new Promise(() => {})
      })(),
    )
    expect((await failure(call)).code).toBe(Code.UNAVAILABLE)
    const [{ id = '' } = {}] = await world.db.query<{ id: string }>(
      "select id from batches where request_id = 'cut'",
    )
    expect(await world.children(id)).toEqual([])
    const batch = await create({ requestId: 'cut' }, ids)
    expect(batch).toMatchObject({ id, total: 1_200 })
    expect(await documentsOf(id)).toEqual(ids)
    expect(await running(id)).toHaveLength(8)
  })

  it('keeps a batch open that its caller left', async () => {
    const leaving = new AbortController()
    const parts = leavingAfter({ requestId: 'left' }, documentIds(500), () => leaving.abort())
    const call = client.createBatch(parts, { signal: leaving.signal })
    expect((await failure(call)).code).toBe(Code.CANCELLED)
    const batch = await create({ requestId: 'left' }, documentIds(10))
    expect(batch.total).toBe(510)
  })

  it('keeps a batch whose stream broke for a day, and not longer', async () => {
    for (const requestId of ['yesterday', 'today']) {
      const leaving = new AbortController()
      const parts = leavingAfter({ requestId }, documentIds(500), () => leaving.abort())
      await failure(client.createBatch(parts, { signal: leaving.signal }))
    }
    await world.db.query(
      `update batches set created_at = created_at - interval '25 hours' where request_id = 'yesterday'`,
    )
    const complete = await create({}, documentIds(1))
    await world.db.query(`update batches set created_at = created_at - interval '25 hours' where id = $1`, [
      complete.id,
    ])
    await world.sweep()
    const left = await world.db.query(
      `select request_id from batches where request_id in ('yesterday', 'today')`,
    )
    expect(left).toEqual([{ request_id: 'today' }])
    expect((await get(complete.id)).state).toBe(BatchState.RUNNING)
  })

  it('refuses a new document for a batch that was complete', async () => {
    const ids = documentIds(2)
    const { id } = await create({ requestId: 'closed' }, ids)
    const error = await failure(create({ requestId: 'closed' }, [...ids, ...documentIds(1)]))
    expect(error).toMatchObject({ code: Code.FAILED_PRECONDITION, reason: 'BATCH_CLOSED' })
    expect((await get(id)).total).toBe(2)
  })

  it.each([
    ['no message', [], 'header'],
    ['no header', [documentPart(UNKNOWN)], 'header'],
    ['a second header', [headerPart(), documentPart(UNKNOWN), headerPart()], 'header'],
    ['an id that is none', [headerPart(), documentPart('x')], 'document_id'],
    ['too many at once', [headerPart({ parallelism: 101 }), documentPart(UNKNOWN)], 'header.parallelism'],
    ['less than none', [headerPart({ parallelism: -1 }), documentPart(UNKNOWN)], 'header.parallelism'],
  ])('refuses %s, names the field and leaves nothing', async (_, parts, field) => {
    const count = async () => (await world.db.query('select count(*) from batches'))[0]
    const before = await count()
    expect(await failure(client.createBatch(streamOf(parts)))).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      options: { fields: [{ field }] },
    })
    expect(await count()).toEqual(before)
  })

  it('refuses a batch without documents, and a rule pack that is not there', async () => {
    expect(await failure(create({ requestId: 'empty' }, []))).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      reason: 'EMPTY_BATCH',
    })
    expect(
      await failure(create({ options: wanted({ rulePacks: ['no.such'] }) }, documentIds(1))),
    ).toMatchObject({
      reason: 'UNKNOWN_RULE_PACK',
    })
  })

  it('refuses more documents than a batch takes, and leaves nothing', async () => {
    const leaving = new AbortController()
    const parts = leavingAfter({ requestId: 'huge' }, documentIds(500), () => leaving.abort())
    await failure(client.createBatch(parts, { signal: leaving.signal }))
    await world.db.query("update batches set total = 99999 where request_id = 'huge'")
    const error = await failure(create({ requestId: 'huge' }, documentIds(2)))
    expect(error).toMatchObject({ code: Code.RESOURCE_EXHAUSTED, reason: 'BATCH_TOO_LARGE' })
    expect(await world.db.query("select from batches where request_id = 'huge'")).toEqual([])
  })
})

describe('cancelling', () => {
  it('stops what runs and what waits, once', async () => {
    const { id } = await create({ parallelism: 2 }, documentIds(10))
    const [first = ''] = await running(id)
    await world.end(first, 'completed', 40)
    const { batch } = await client.cancelBatch({ batchId: id })
    expect(batch).toMatchObject({
      state: BatchState.CANCELLED,
      completed: 1,
      cancelled: 9,
      meanScore: 40,
      endedAt: expect.any(Date),
    })
    expect(await running(id)).toEqual([])
    expect(await client.cancelBatch({ batchId: id })).toEqual({ batch })
    expect(await announced(id)).toMatchObject([{ payload: { completed: 1, cancelled: 9 } }])
  })

  it('beside analyses that end at the same time loses no count', async () => {
    const { id } = await create({ parallelism: 30 }, documentIds(100))
    const ids = await running(id)
    await Promise.all([
      client.cancelBatch({ batchId: id }),
      ...ids.map((child) => world.end(child, 'completed', 10)),
    ])
    await client.cancelBatch({ batchId: id })
    const batch = await get(id)
    expect(batch).toMatchObject({ state: BatchState.CANCELLED, endedAt: expect.any(Date) })
    expect(batch.completed + batch.cancelled).toBe(100)
    expect(await world.children(id, 'completed')).toHaveLength(batch.completed)
    expect(await announced(id)).toHaveLength(1)
  })

  it('ends a batch whose stream was cut', async () => {
    const leaving = new AbortController()
    const parts = leavingAfter({ requestId: 'abandoned' }, documentIds(500), () => leaving.abort())
    await failure(client.createBatch(parts, { signal: leaving.signal }))
    const { batches } = await client.listBatches({ pageSize: 1 })
    const { batch } = await client.cancelBatch({ batchId: batches[0]?.id ?? '' })
    expect(batch).toMatchObject({ state: BatchState.CANCELLED, total: 500, cancelled: 500 })
  })
})

describe('a watch', () => {
  it('shows the counts, each ended analysis once, and the end', async () => {
    const { id } = await create({ parallelism: 3 }, documentIds(350))
    const seen: WatchBatchResponse[] = []
    let draining: Promise<void> | undefined
    for await (const news of client.watchBatch({ batchId: id })) {
      seen.push(news)
      draining ??= drain(id)
    }
    await draining
    expect(seen[0]).toMatchObject({ batch: { completed: 0 }, ended: [] })
    const completed = seen.map(({ batch }) => batch?.completed ?? 0)
    expect(completed).toEqual([...completed].sort((a, b) => a - b))
    expect(seen.at(-1)?.batch).toMatchObject({ state: BatchState.COMPLETED, completed: 350 })
    const ended = seen.flatMap((news) => news.ended)
    expect(ended.every(({ state }) => state === AnalysisState.COMPLETED)).toBe(true)
    expect(ended.map((analysis) => analysis.id).sort()).toEqual((await world.children(id)).sort())
    expect(seen.length).toBeLessThan(350)
    expect(Math.max(...seen.map((news) => news.ended.length))).toBeLessThanOrEqual(100)
  })

  it('tells how long it will take once there is a pace', async () => {
    const { id } = await create({ parallelism: 1 }, documentIds(3))
    expect((await get(id)).estimatedRemaining).toBeUndefined()
    await world.end((await running(id))[0] ?? '', 'completed', 1)
    expect((await get(id)).estimatedRemaining).toBeDefined()
  })

  it('of an ended batch is one message', async () => {
    const { id } = await create({}, documentIds(1))
    await drain(id)
    const seen = await Array.fromAsync(client.watchBatch({ batchId: id }))
    expect(seen).toMatchObject([{ batch: { state: BatchState.COMPLETED }, ended: [] }])
  })

  it('of a batch that a wrong repetition discards ends', async () => {
    const leaving = new AbortController()
    const parts = leavingAfter({ requestId: 'discarded' }, documentIds(500), () => leaving.abort())
    await failure(client.createBatch(parts, { signal: leaving.signal }))
    const { batches } = await client.listBatches({ pageSize: 1 })
    const watch = client.watchBatch({ batchId: batches[0]?.id ?? '' })[Symbol.asyncIterator]()
    expect((await watch.next()).value).toMatchObject({ batch: { total: 500 } })
    const last = failure(watch.next())
    await failure(client.createBatch(streamOf([headerPart({ requestId: 'discarded' }), documentPart('x')])))
    expect(await last).toMatchObject({ code: Code.NOT_FOUND, reason: 'BATCH_NOT_FOUND' })
  })

  it('outlives a cut of the database', async () => {
    await using proxy = await tcpProxy(database.url)
    await using other = await startBatchWorld(proxy.url)
    const { id } = await create({}, documentIds(3))
    const states: number[] = []
    for await (const { batch } of other.client.watchBatch({ batchId: id })) {
      states.push(batch?.completed ?? 0)
      if (states.length > 1) continue
      proxy.cut()
      await drain(id)
      proxy.restore()
    }
    expect(states.at(-1)).toBe(3)
  })
})

describe('an erased document', () => {
  it('counts as cancelled where its analysis ran, and the batch goes on', async () => {
    const ids = documentIds(3)
    const { id } = await create({ parallelism: 1 }, ids)
    const erased = { documentId: ids[0] ?? '', receiptId: UNKNOWN }
    await world.db.transaction((tx) =>
      world.events.publish(tx, DocumentErased, erased as DocumentErased, {
        aggregateType: 'document',
        aggregateId: erased.documentId,
      }),
    )
    await eventually(async () => expect(await get(id)).toMatchObject({ cancelled: 1 }))
    const now = await Promise.all((await running(id)).map(world.child))
    expect(now.map(({ documentId }) => documentId)).toContain(ids[1])
  })
})

describe('the batches', () => {
  it('come newest first, page by page', async () => {
    const own = world.clientAs('pages')
    const made: string[] = []
    for (let count = 0; count < 5; count++) made.push((await create({}, documentIds(1), own)).id)
    const first = await own.listBatches({ pageSize: 2 })
    const second = await own.listBatches({ pageSize: 2, pageToken: first.nextPageToken })
    const third = await own.listBatches({ pageSize: 2, pageToken: second.nextPageToken })
    const listed = [first, second, third].flatMap(({ batches }) => batches.map(({ id }) => id))
    expect(listed).toEqual(made.toReversed())
    expect(third.nextPageToken).toBe('')
  })

  it('of another tenant are not found', async () => {
    const { id } = await create({}, documentIds(1))
    const rival = world.clientAs('rival')
    const calls = [
      () => rival.getBatch({ batchId: id }),
      () => rival.cancelBatch({ batchId: id }),
      () => Array.fromAsync(rival.watchBatch({ batchId: id })),
      () => client.getBatch({ batchId: UNKNOWN }),
      () => client.getBatch({ batchId: 'no id' }),
    ]
    for (const call of calls)
      expect(await failure(call())).toMatchObject({ code: Code.NOT_FOUND, reason: 'BATCH_NOT_FOUND' })
    const { batches } = await rival.listBatches({})
    expect(batches.map((batch) => batch.id)).not.toContain(id)
    expect((await get(id)).state).toBe(BatchState.RUNNING)
  })
})
