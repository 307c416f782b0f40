import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Document } from '@docmesh/contracts/document/v1/document'
import { Code } from '@docmesh/rpc'
import { type TestDatabase, testDatabase } from '@docmesh/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DocumentClient, failure, fixture, openWorld, upload, type World } from './world.fixture.ts'

const unique = (): string => `Ata de reunião ${randomBytes(8).toString('hex')}\n`
const UNKNOWN = '0190a000-0000-7000-8000-000000000000'

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

async function download(client: DocumentClient, documentId: string, offset = 0, version = 0) {
  const [head, ...rest] = await Array.fromAsync(
    client.downloadDocument({ documentId, version, offset: BigInt(offset) }),
  )
  const chunks = rest.map(({ part }) => (part?.$case === 'chunk' ? part.value : Buffer.from('not a chunk')))
  return {
    metadata: head?.part?.$case === 'metadata' ? head.part.value : undefined,
    chunks,
    content: Buffer.concat(chunks),
  }
}

const eventTypes = async (id: string): Promise<string[]> =>
  (await world.events.history('document', id)).map(({ type }) => type.replace('docmesh.document.v1.', ''))

describe('a list of documents', () => {
  let client: DocumentClient
  const all: Document[] = []
  beforeAll(async () => {
    client = world.clientAs('lister')
    const pdf = await fixture('sample-contract.pdf')
    for (let n = 0; n < 13; n++) {
      const content = n % 3 === 0 ? pdf : unique()
      const tags = [...(n % 2 === 0 ? ['even'] : []), ...(n % 3 === 0 ? ['third'] : [])]
      const name = n === 7 ? 'Relatório_50%.txt' : `contrato ${n}`
      all.unshift((await upload(client, content, { name, tags })).document)
    }
  })

  it('comes newest first, and its pages make up the whole', async () => {
    expect((await client.listDocuments({})).documents).toEqual(all)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 15 }), async (pageSize) => {
        const documents: Document[] = []
        let pageToken = ''
        do {
          const page = await client.listDocuments({ pageSize, pageToken })
          expect(page.documents.length).toBeLessThanOrEqual(pageSize)
          documents.push(...page.documents)
          pageToken = page.nextPageToken
        } while (pageToken)
        expect(documents).toEqual(all)
      }),
      { numRuns: 15 },
    )
  })

  it('can be narrowed by tags, name, type and time', async () => {
    const ids = async (filter: Parameters<DocumentClient['listDocuments']>[0]) =>
      (await client.listDocuments(filter)).documents.map(({ id }) => id)
    const those = (keep: (document: Document) => boolean) => all.filter(keep).map(({ id }) => id)
    expect(await ids({ tags: ['even', 'third'] })).toEqual(
      those(({ tags }) => tags.includes('even') && tags.includes('third')),
    )
    expect(await ids({ nameContains: 'RELATÓRIO_50%' })).toEqual(those(({ name }) => name.startsWith('Rel')))
    expect(await ids({ nameContains: '_' })).toHaveLength(1)
    expect(await ids({ mediaType: 'application/pdf' })).toHaveLength(5)
    const createdAt = all[4]?.createdAt
    expect(await ids({ createdAfter: createdAt })).toEqual(all.slice(0, 5).map(({ id }) => id))
    expect(await ids({ createdBefore: createdAt })).toEqual(all.slice(5).map(({ id }) => id))
    expect(await ids({ tags: ['none'] })).toEqual([])
    expect(await ids({ nameContains: '\0' })).toEqual([])
    expect(await ids({ tags: ['\0'] })).toEqual([])
  })

  it.each([-8.64e15, 1e18])('takes no time that is %d ms from 1970', async (ms) => {
    const time = Object.assign(new Date(0), { getTime: () => ms })
    for (const [key, field] of [
      ['createdAfter', 'created_after'],
      ['createdBefore', 'created_before'],
    ] as const)
      expect(await failure(client.listDocuments({ [key]: time }))).toMatchObject({
        code: Code.INVALID_ARGUMENT,
        options: { fields: [{ field }] },
      })
  })

  it('takes no foreign page token and no impossible page size', async () => {
    for (const pageToken of ['!', Buffer.from('42').toString('base64url')])
      expect(await failure(client.listDocuments({ pageToken }))).toMatchObject({
        code: Code.INVALID_ARGUMENT,
        reason: 'INVALID_PAGE_TOKEN',
      })
    expect(await failure(client.listDocuments({ pageSize: 1_001 }))).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      options: { fields: [{ field: 'page_size' }] },
    })
  })
})

it('lists the versions of a document newest first, page by page', async () => {
  const { document } = await upload(world.client, unique())
  for (let n = 0; n < 3; n++) await upload(world.client, unique(), { documentId: document.id })
  const first = await world.client.listDocumentVersions({ documentId: document.id, pageSize: 3 })
  const second = await world.client.listDocumentVersions({
    documentId: document.id,
    pageSize: 3,
    pageToken: first.nextPageToken,
  })
  expect([...first.versions, ...second.versions].map(({ number }) => number)).toEqual([4, 3, 2, 1])
  expect(second.versions).toEqual([document.currentVersion])
  expect(second.nextPageToken).toBe('')
  for (const token of ['x', '99999999999', '-1', '1.5'])
    expect(
      await failure(
        world.client.listDocumentVersions({
          documentId: document.id,
          pageToken: Buffer.from(token).toString('base64url'),
        }),
      ),
    ).toMatchObject({ reason: 'INVALID_PAGE_TOKEN' })
})

describe('an update', () => {
  it('changes the fields that are set and leaves the others', async () => {
    const { document } = await upload(world.client, unique(), {
      name: 'old',
      tags: ['a'],
      attributes: { k: 'v' },
    })
    const renamed = await world.client.updateDocument({ documentId: document.id, name: 'new' })
    expect(renamed.document).toMatchObject({ name: 'new', tags: ['a'], attributes: { k: 'v' } })
    const cleared = await world.client.updateDocument({
      documentId: document.id,
      tags: { values: [] },
      attributes: { values: {} },
    })
    expect(cleared.document).toMatchObject({ name: 'new', tags: [], attributes: {} })
    expect((await world.client.getDocument({ documentId: document.id })).document).toEqual(cleared.document)
    expect(await eventTypes(document.id)).toEqual(['DocumentCreated', 'DocumentUpdated', 'DocumentUpdated'])
  })

  it('returns ABORTED for a stale etag and changes nothing', async () => {
    const { document } = await upload(world.client, unique(), { name: 'first' })
    const update = (name: string) =>
      world.client.updateDocument({ documentId: document.id, etag: document.etag, name })
    await update('second')
    expect(await failure(update('third'))).toMatchObject({ code: Code.ABORTED, reason: 'STALE_ETAG' })
    expect((await world.client.getDocument({ documentId: document.id })).document?.name).toBe('second')
  })

  it('lets one of those through that changed the same state', async () => {
    const { document } = await upload(world.client, unique())
    const changes = await Promise.allSettled(
      ['a', 'b', 'c'].map((name) =>
        world.client.updateDocument({ documentId: document.id, etag: document.etag, name }),
      ),
    )
    expect(changes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('takes no name, tag or attribute that an upload would not take', async () => {
    const { document } = await upload(world.client, unique())
    const error = await failure(
      world.client.updateDocument({
        documentId: document.id,
        name: ' ',
        tags: { values: ['x'.repeat(256)] },
        attributes: { values: { '': 'v' } },
      }),
    )
    expect(error.code).toBe(Code.INVALID_ARGUMENT)
    expect(error.options.fields?.map(({ field }) => field)).toEqual(['name', 'tags', 'attributes'])
    expect((await world.client.getDocument({ documentId: document.id })).document).toEqual(document)
  })
})

describe('a download', () => {
  it('brings the bytes of a version, from any offset to the end', async () => {
    const content = Buffer.from(unique().repeat(5_000))
    const { document, version } = await upload(world.client, content, { name: 'ata.txt' })
    const next = unique()
    await upload(world.client, next, { documentId: document.id })
    const whole = await download(world.client, document.id, 0, 1)
    expect(whole.metadata).toEqual({ name: 'ata.txt', version })
    expect(whole.content.equals(content)).toBe(true)
    expect(Math.max(...whole.chunks.map(({ length }) => length))).toBeLessThanOrEqual(65_536)
    for (const offset of [1, 65_536, content.length - 1, content.length])
      expect((await download(world.client, document.id, offset, 1)).content).toEqual(content.subarray(offset))
    expect((await download(world.client, document.id)).content.toString()).toBe(next)
  })

  it('begins within the content', async () => {
    const { document, version } = await upload(world.client, unique())
    for (const offset of [-1, Number(version.sizeBytes) + 1])
      expect(await failure(download(world.client, document.id, offset))).toMatchObject({
        code: Code.INVALID_ARGUMENT,
        options: { fields: [{ field: 'offset' }] },
      })
    expect((await failure(download(world.client, document.id, 0, 7))).reason).toBe('DOCUMENT_NOT_FOUND')
    expect((await failure(download(world.client, document.id, 0, -1))).reason).toBe('DOCUMENT_NOT_FOUND')
  })
})

describe('an erasure', () => {
  const text = (id: string) => Array.fromAsync(world.client.extractText({ documentId: id }))

  it('leaves of a document its receipt and that it was there', async () => {
    const { document } = await upload(world.client, unique(), {
      name: 'CPF de Maria.txt',
      requestId: 'erased',
    })
    await upload(world.client, unique(), { documentId: document.id })
    await text(document.id)
    const hashes = (await world.client.listDocumentVersions({ documentId: document.id })).versions.map(
      ({ sha256 }) => sha256,
    )
    const { receipt } = await world.client.deleteDocument({ documentId: document.id, reason: 'asked for' })
    expect(receipt).toMatchObject({ documentId: document.id, reason: 'asked for' })
    expect(receipt?.contentSha256).toEqual([...hashes].sort())
    for (const [table, column] of [
      ['documents', 'id'],
      ['versions', 'document_id'],
      ['texts', 'document_id'],
      ['uploads', 'document_id'],
    ])
      expect(await world.db.query(`select from ${table} where ${column} = $1`, [document.id])).toEqual([])
    const kept = await world.blobs()
    for (const hash of hashes) expect(kept.some((path) => path.endsWith(hash))).toBe(false)
    expect((await failure(world.client.getDocument({ documentId: document.id }))).code).toBe(Code.NOT_FOUND)

    const history = await world.events.history('document', document.id)
    expect(history.map(({ type }) => type.split('.').at(-1))).toEqual([
      'DocumentCreated',
      'DocumentVersionAdded',
      'DocumentTextExtracted',
      'DocumentErased',
    ])
    const said = history.slice(0, -1).map(({ payload, userId }) => payload.toString() + userId)
    expect(said).toEqual(['', '', ''])
  })

  it('takes no reason that cannot be stored', async () => {
    const { document } = await upload(world.client, unique())
    const error = await failure(world.client.deleteDocument({ documentId: document.id, reason: '\0' }))
    expect(error).toMatchObject({ code: Code.INVALID_ARGUMENT, options: { fields: [{ field: 'reason' }] } })
  })

  it('gives the first receipt again', async () => {
    const { document } = await upload(world.client, unique())
    const [first, second] = await Promise.all([
      world.client.deleteDocument({ documentId: document.id, reason: 'one' }),
      world.client.deleteDocument({ documentId: document.id, reason: 'two' }),
    ])
    const third = await world.client.deleteDocument({ documentId: document.id, reason: 'three' })
    expect(second.receipt).toEqual(first.receipt)
    expect(third.receipt).toEqual(first.receipt)
    expect((await eventTypes(document.id)).filter((type) => type === 'DocumentErased')).toHaveLength(1)
  })

  it('keeps a content that another document has', async () => {
    const content = unique()
    const { document } = await upload(world.client, content)
    const { document: other, version } = await upload(world.clientAs('rival'), content)
    await world.client.deleteDocument({ documentId: document.id })
    expect((await download(world.clientAs('rival'), other.id)).content.toString()).toBe(content)
    await world.clientAs('rival').deleteDocument({ documentId: other.id })
    expect((await world.blobs()).some((path) => path.endsWith(version.sha256))).toBe(false)
  })

  it('does not lose a content that is uploaded meanwhile', async () => {
    for (let round = 0; round < 5; round++) {
      const content = unique()
      const { document } = await upload(world.client, content)
      const [, again] = await Promise.all([
        world.client.deleteDocument({ documentId: document.id }),
        upload(world.client, content),
      ])
      expect((await download(world.client, again.document.id)).content.toString()).toBe(content)
    }
  })

  it('goes together with new versions of the same content without losing either', async () => {
    for (let round = 0; round < 5; round++) {
      const content = unique()
      const { document } = await upload(world.client, content)
      const [erased, added] = await Promise.allSettled([
        world.client.deleteDocument({ documentId: document.id }),
        upload(world.client, content, { documentId: document.id }),
      ])
      expect(erased.status).toBe('fulfilled')
      if (added.status === 'rejected') expect(added.reason).toMatchObject({ reason: 'DOCUMENT_NOT_FOUND' })
    }
  })

  it('removes nothing when its event cannot be written', async () => {
    const failing = world.clientAt(await world.serve(() => Promise.reject(new Error('the log is full'))))
    const { document, version } = await upload(world.client, unique())
    expect((await failure(failing.deleteDocument({ documentId: document.id }))).code).toBe(Code.INTERNAL)
    const path = (await world.blobs()).find((path) => path.endsWith(version.sha256)) ?? ''
    expect((await readFile(path)).length).toBe(Number(version.sizeBytes))
    expect((await world.client.getDocument({ documentId: document.id })).document).toEqual(document)
    expect((await world.events.history('document', document.id))[0]?.payload.length).toBeGreaterThan(0)
  })
})

it('returns NOT_FOUND to other tenants, and for ids that are not there or are none', async () => {
  const { document } = await upload(world.client, unique())
  const foreign = world.clientAs('rival')
  const targets: [DocumentClient, string][] = [
    [foreign, document.id],
    [world.client, UNKNOWN],
    [world.client, 'no id'],
    [world.client, document.id.toUpperCase()],
  ]
  for (const [client, documentId] of targets) {
    const calls = [
      client.getDocument({ documentId }),
      client.listDocumentVersions({ documentId }),
      client.updateDocument({ documentId, name: 'mine' }),
      client.deleteDocument({ documentId }),
      download(client, documentId),
      Array.fromAsync(client.extractText({ documentId })),
    ]
    for (const error of await Promise.all(calls.map(failure)))
      expect(error).toMatchObject({
        code: Code.NOT_FOUND,
        reason: 'DOCUMENT_NOT_FOUND',
        options: { resource: { type: 'document', name: documentId } },
      })
  }
  expect((await foreign.listDocuments({})).documents.some(({ id }) => id === document.id)).toBe(false)
  await world.client.deleteDocument({ documentId: document.id })
  expect((await failure(foreign.deleteDocument({ documentId: document.id }))).code).toBe(Code.NOT_FOUND)
})
