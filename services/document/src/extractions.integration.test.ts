import { createHash } from 'node:crypto'
import { mkdir, rename, rmdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ExtractionState, TextLayout } from '@docmesh/contracts/document/v1/document'
import { DocumentTextUnreadable } from '@docmesh/contracts/document/v1/events'
import { Code } from '@docmesh/rpc'
import { eventually, type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { extractDocument } from './extract/extract.ts'
import { defaultLimits } from './extract/extracted.ts'
import { type DocumentClient, failure, fixture, openWorld, upload, type World } from './world.fixture.ts'

let database: TestDatabase
let world: World
beforeAll(async () => {
  database = await testDatabase()
  world = await openWorld(database.url)
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await database.close()
})

async function read(client: DocumentClient, documentId: string, version = 0) {
  const parts = await Array.fromAsync(client.extractText({ documentId, version }))
  const chunks = parts.flatMap(({ part }) => (part?.$case === 'text' ? [part.value] : []))
  const layouts = parts.flatMap(({ part }) => (part?.$case === 'layout' ? [part.value] : []))
  const [layout] = layouts
  if (!layout || layouts.length !== 1) throw new Error(`${layouts.length} layouts`)
  return { order: parts.map(({ part }) => part?.$case), layout, chunks, text: chunks.join('') }
}

const current = async (documentId: string) =>
  (await world.client.getDocument({ documentId })).document?.currentVersion

const eventTypes = async (id: string): Promise<string[]> =>
  (await world.events.history('document', id)).map(({ type }) => type.replace('docmesh.document.v1.', ''))

it.each(['pdf', 'docx', 'html', 'md', 'txt'])(
  'streams the text and the layout that the %s has',
  async (extension) => {
    const name = `sample-contract.${extension}`
    const content = await fixture(name)
    const { document } = await upload(world.client, content, { name })
    const { order, layout, text } = await read(world.client, document.id)
    const extracted = await extractDocument(content, { fileName: name }, defaultLimits)
    expect(text).toBe(extracted.text)
    expect(order.slice(0, 3)).toEqual(['progress', 'layout', 'text'])
    const { version, pages, blocks, signals, properties, extractor, textSha256, length } = layout
    const wire = TextLayout.fromPartial({
      pages: [...extracted.pages],
      blocks: [...extracted.blocks],
      properties: extracted.properties,
      extractor: extracted.extractor,
    })
    const rounded = TextLayout.decode(TextLayout.encode(wire).finish())
    expect({ pages, blocks, properties, extractor }).toEqual({
      pages: rounded.pages,
      blocks: rounded.blocks,
      properties: rounded.properties,
      extractor: rounded.extractor,
    })
    expect(signals.map(({ kind, detail }) => ({ kind, detail }))).toEqual(
      extracted.signals.map(({ kind, detail }) => ({ kind, detail })),
    )
    expect(length).toBe(text.length)
    expect(textSha256).toBe(createHash('sha256').update(text).digest('hex'))
    expect(version).toEqual(await current(document.id))
    expect(version).toMatchObject({
      extractionState: ExtractionState.EXTRACTED,
      pageCount: extracted.pages.length,
      language: extracted.properties.language ?? '',
    })
  },
)

it('takes a text from the store the second time, as it was', async () => {
  const { document } = await upload(world.client, await fixture('sample-contract.md'), { name: 'a.md' })
  const first = await read(world.client, document.id)
  const { completed } = world.pool.stats()
  expect(await read(world.client, document.id)).toEqual(first)
  expect(world.pool.stats().completed).toBe(completed)
  expect(await eventTypes(document.id)).toEqual(['DocumentCreated', 'DocumentTextExtracted'])
})

it('reads once for callers that ask at the same time', async () => {
  const { document } = await upload(world.client, await fixture('sample-contract.pdf'))
  const { completed } = world.pool.stats()
  const [first, ...others] = await Promise.all([1, 2, 3, 4].map(() => read(world.client, document.id)))
  for (const other of others) expect(other).toEqual(first)
  expect(world.pool.stats().completed).toBe(completed + 1)
})

it('announces a text once when two instances read it at the same time', async () => {
  const { document } = await upload(world.client, await fixture('sample-contract.pdf'))
  const elsewhere = world.clientAt(await world.serve())
  const [here, there] = await Promise.all([read(world.client, document.id), read(elsewhere, document.id)])
  expect(there.text).toBe(here.text)
  expect(await eventTypes(document.id)).toEqual(['DocumentCreated', 'DocumentTextExtracted'])
})

it('parts no surrogate pair', async () => {
  const { document } = await upload(world.client, `a${'🖋'.repeat(40_000)}\n`)
  const { chunks, text } = await read(world.client, document.id)
  expect(chunks.length).toBeGreaterThan(1)
  expect(chunks.every((chunk) => chunk.isWellFormed() && chunk.length <= 65_536)).toBe(true)
  expect(text.trimEnd()).toBe(`a${'🖋'.repeat(40_000)}`)
})

it.each([
  ['encrypted.pdf', 'encrypted'],
  ['truncated.pdf', 'damaged'],
  ['scan-only.pdf', 'no_text'],
  ['bomb.docx', 'inflation_limit'],
  ['doctype.docx', 'damaged'],
])('says of %s that it cannot be read, and why', async (name, reason) => {
  const { document } = await upload(world.client, await fixture(name), { name })
  const { failed } = world.pool.stats()
  const first = await failure(read(world.client, document.id))
  expect(first).toMatchObject({
    code: Code.FAILED_PRECONDITION,
    reason: 'DOCUMENT_UNREADABLE',
    options: { metadata: { failure: reason } },
  })
  const second = await failure(read(world.client, document.id))
  expect(second).toMatchObject({ message: first.message, options: { metadata: { failure: reason } } })
  expect(world.pool.stats().failed).toBe(failed + 1)
  expect(await current(document.id)).toMatchObject({
    extractionState: ExtractionState.UNREADABLE,
    extractionError: first.message,
  })
  const [, unreadable, ...more] = await world.events.history('document', document.id)
  expect(more).toEqual([])
  expect(DocumentTextUnreadable.decode(unreadable?.payload ?? Buffer.alloc(0))).toEqual({
    documentId: document.id,
    version: 1,
    reason,
  })
})

it('reads the version that is asked for', async () => {
  const { document } = await upload(world.client, 'A primeira versão.\n')
  await upload(world.client, 'A segunda versão.\n', { documentId: document.id })
  expect((await read(world.client, document.id, 1)).text).toContain('primeira')
  expect((await read(world.client, document.id)).text).toContain('segunda')
  expect((await failure(read(world.client, document.id, 3))).reason).toBe('DOCUMENT_NOT_FOUND')
})

it('goes on reading when the caller leaves', async () => {
  const { document } = await upload(world.client, await fixture('marked-up.docx'), { name: 'a.docx' })
  const leaving = new AbortController()
  const call = failure(
    (async () => {
      for await (const { part } of world.client.extractText(
        { documentId: document.id },
        { signal: leaving.signal },
      ))
        if (part?.$case === 'progress') leaving.abort()
    })(),
  )
  expect((await call).code).toBe(Code.CANCELLED)
  await eventually(async () =>
    expect((await current(document.id))?.extractionState).toBe(ExtractionState.EXTRACTED),
  )
})

it('keeps neither text nor event when the event cannot be written, and reads again when asked again', async () => {
  const { document } = await upload(world.client, 'Um texto qualquer.\n')
  const failing = world.clientAt(await world.serve(() => Promise.reject(new Error('the log is full'))))
  expect((await failure(read(failing, document.id))).code).toBe(Code.INTERNAL)
  expect(await world.db.query('select from texts where document_id = $1', [document.id])).toEqual([])
  expect(await eventTypes(document.id)).toEqual(['DocumentCreated'])
  expect((await read(world.client, document.id)).text).toContain('qualquer')
})

it('announces a text before or after another change of the document, for readers as for writers', async () => {
  const { document } = await upload(world.client, 'Um texto qualquer.\n')
  let changing: Promise<unknown> | undefined
  const slow = await world.serve(async (tx, type, ...event) => {
    changing = world.client.updateDocument({ documentId: document.id, name: 'other' })
    const changed = changing.then(() => true)
    await eventually(async () => {
      const waiting = await world.db.query(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      )
      if (waiting.length === 0 && !(await Promise.race([changed, false]))) throw new Error('not changed yet')
    })
    return world.events.publish(tx, type, ...event)
  })
  await read(world.clientAt(slow), document.id)
  await changing
  const rows = await world.db.query<{ version: bigint }>(
    'select version from events.log where aggregate_id = $1 order by xid, position',
    [document.id],
  )
  expect(rows.map(({ version }) => version)).toEqual([1n, 2n, 3n])
})

const workerPath = fileURLToPath(new URL('../fixtures/hostile-worker.ts', import.meta.url))

it('says that a document cannot be read when another instance has found so meanwhile', async () => {
  await using elsewhere = await openWorld(database.url, { workerPath, workers: 1 })
  const content = 'Um texto que só um dos dois lê.\n'
  const { document } = await upload(world.client, content, { name: 'exit' })
  await upload(elsewhere.client, content) // for its folder
  const waiting = (count: number) =>
    eventually(async () => {
      const rows = await world.db.query(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      )
      expect(rows).toHaveLength(count)
    })
  const readings = await world.db.transaction(async (tx) => {
    await tx.query('select from documents where id = $1 for update', [document.id])
    const there = failure(read(elsewhere.client, document.id))
    await waiting(1)
    const here = failure(read(world.client, document.id))
    await waiting(2)
    return [there, here]
  })
  for (const error of await Promise.all(readings))
    expect(error).toMatchObject({
      reason: 'DOCUMENT_UNREADABLE',
      options: { metadata: { failure: 'crashed' } },
    })
})

it('says of a document with more layout than a message may have that it is too large', async () => {
  await using vast = await openWorld(database.url, { workerPath, workers: 1 })
  const { document } = await upload(vast.client, 'Um texto qualquer.\n', { name: 'blocks' })
  for (let time = 0; time < 2; time++)
    expect(await failure(read(vast.client, document.id))).toMatchObject({
      reason: 'DOCUMENT_UNREADABLE',
      options: { metadata: { failure: 'too_large' } },
    })
  expect((await current(document.id))?.extractionState).toBe(ExtractionState.UNREADABLE)
})

it('reads a document again after the disk did not give it', async () => {
  const { document, version } = await upload(world.client, 'Um texto que o disco esconde.\n')
  const path = (await world.blobs()).find((name) => name.endsWith(version.sha256)) ?? ''
  await rename(path, `${path}.away`)
  await mkdir(path)
  expect((await failure(read(world.client, document.id))).code).toBe(Code.INTERNAL)
  await rmdir(path)
  await rename(`${path}.away`, path)
  expect((await read(world.client, document.id)).text).toContain('esconde')
})

it('returns NOT_FOUND and stores nothing for a document that is erased while it is read', async () => {
  await using slow = await openWorld(database.url, { workerPath, workers: 1 })
  const { pid } = JSON.parse((await slow.pool.extract({ path: workerPath })).text)
  const { document } = await upload(slow.client, 'Um texto qualquer.\n', { name: 'spin' })
  const reading = failure(read(slow.client, document.id))
  await eventually(async () =>
    expect((await current(document.id))?.extractionState).toBe(ExtractionState.RUNNING),
  )
  await slow.client.deleteDocument({ documentId: document.id })
  process.kill(pid, 'SIGKILL')
  expect((await reading).reason).toBe('DOCUMENT_NOT_FOUND')
  expect((await eventTypes(document.id)).at(-1)).toBe('DocumentErased')
})
