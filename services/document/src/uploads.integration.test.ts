import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import type { UploadMetadata } from '@docmesh/contracts/document/v1/document'
import { Code } from '@docmesh/rpc'
import { eventually, type TestDatabase, tcpProxy, testDatabase } from '@docmesh/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { failure, fixture, MAX_BYTES, openWorld, upload, uploadOf, type World } from './world.fixture.ts'

const fixtures = new URL('../fixtures/', import.meta.url)
const sha256 = (content: Uint8Array | string): string => createHash('sha256').update(content).digest('hex')
const unique = (): string => `Ata de reunião ${randomBytes(8).toString('hex')}\n`
/** Readable as text, too long for one chunk, and never stored before. */
const long = (bytes: number): Buffer =>
  Buffer.from(unique().padEnd(bytes, 'cláusula '), 'latin1').subarray(0, bytes)

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

const traces = async () => ({
  documents: await world.count('documents'),
  versions: await world.count('versions'),
  uploads: await world.count('uploads'),
  events: await world.count('events.log'),
  blobs: (await world.blobs()).length,
  staged: (await world.staged()).length,
})

/** Sends what comes and never ends; rejects when the call is cancelled. */
async function* stalling<T>(items: AsyncIterable<T>, stalled: () => void): AsyncGenerator<T> {
  yield* items
  stalled()
  await new Promise(() => {})
}

/** Begins an upload, and leaves when the server has these bytes. */
async function interrupt(metadata: Partial<UploadMetadata>, content: Uint8Array): Promise<void> {
  const leaving = new AbortController()
  const call = world.client.uploadDocument(
    stalling(uploadOf(metadata, content), () => {}),
    { signal: leaving.signal },
  )
  const left = failure(call)
  await eventually(async () => {
    const sizes = await Promise.all((await world.staged()).map(async (path) => (await stat(path)).size))
    expect(sizes).toContain(content.length)
  })
  leaving.abort()
  expect((await left).code).toBe(Code.CANCELLED)
}

it('stores every kind of document under the type that its content has', async () => {
  const types: Record<string, string> = {
    pdf: 'application/pdf',
    docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
    html: 'text/html',
    md: 'text/markdown',
    txt: 'text/plain',
  }
  const names = (await readdir(fixtures)).filter((name) => /\.(pdf|docx|html|md|txt)$/.test(name))
  expect(names.length).toBeGreaterThan(9)
  for (const name of names) {
    const content = await fixture(name)
    const extension = name.split('.').at(-1) ?? ''
    const { document, version } = await upload(world.client, content, {
      name,
      tags: ['fixture'],
      attributes: { from: name },
    })
    expect(document).toMatchObject({
      name,
      tenantId: 'acme',
      ownerId: 'ana',
      tags: ['fixture'],
      attributes: { from: name },
    })
    expect(version).toMatchObject({
      number: 1,
      sha256: sha256(content),
      sizeBytes: BigInt(content.length),
      mediaType: types[extension],
    })
    const { document: read } = await world.client.getDocument({ documentId: document.id })
    expect(read).toEqual(document)
    const stored = (await world.blobs()).find((path) => path.endsWith(version.sha256))
    expect(await readFile(stored ?? '')).toEqual(content)
  }
})

it('does not believe the name and the type that a client gives', async () => {
  const { version } = await upload(world.client, await fixture('sample-contract.pdf'), {
    name: 'notas.txt',
    mediaType: 'text/plain',
  })
  expect(version.mediaType).toBe('application/pdf')
})

it('stores one content once, and tells only the tenant that has it', async () => {
  const content = unique()
  const before = (await world.blobs()).length
  const first = await upload(world.client, content)
  const second = await upload(world.client, content)
  const foreign = await upload(world.clientAs('rival'), content)
  expect([first, second, foreign].map(({ deduplicated }) => deduplicated)).toEqual([false, true, false])
  expect(new Set([first, second, foreign].map(({ document }) => document.id)).size).toBe(3)
  expect((await world.blobs()).length).toBe(before + 1)
})

it('answers a repeated request id with the same document', async () => {
  const content = unique()
  const first = await upload(world.client, content, { requestId: 'repeated' })
  const again = await upload(world.client, content, { requestId: 'repeated' })
  expect(again.document).toEqual(first.document)
  const other = await upload(world.clientAs('rival'), content, { requestId: 'repeated' })
  expect(other.document.id).not.toBe(first.document.id)
})

it('makes one whole document of uploads that race with one request id', async () => {
  const content = long(150_000)
  const before = await traces()
  const answers = await Promise.all(
    Array.from({ length: 4 }, () =>
      upload(world.client, content, { requestId: 'race', sha256: sha256(content) }),
    ),
  )
  expect(new Set(answers.map(({ document }) => document.id)).size).toBe(1)
  expect(await traces()).toEqual({
    documents: before.documents + 1,
    versions: before.versions + 1,
    uploads: before.uploads + 1,
    events: before.events + 1,
    blobs: before.blobs + 1,
    staged: before.staged,
  })
  const stored = (await world.blobs()).find((path) => path.endsWith(sha256(content)))
  expect(await readFile(stored ?? '')).toEqual(content)
})

it('keeps of an interrupted upload what can be resumed, and nothing else', async () => {
  const content = long(150_000)
  const before = await traces()
  const announced = { requestId: 'resumed', sha256: sha256(content), sizeBytes: BigInt(content.length) }
  await interrupt(announced, content.subarray(0, 65_536))
  await eventually(async () => {
    const { receivedBytes, document } = await world.client.getUploadStatus({ requestId: 'resumed' })
    expect({ receivedBytes, document }).toEqual({ receivedBytes: 65_536n, document: undefined })
  })
  expect(await traces()).toEqual({ ...before, staged: before.staged + 1 })

  const early = await failure(
    upload(world.client, content.subarray(100), { requestId: 'resumed', offset: 100n }),
  )
  expect(early).toMatchObject({
    code: Code.OUT_OF_RANGE,
    reason: 'UPLOAD_OFFSET_MISMATCH',
    options: { metadata: { received_bytes: '65536' } },
  })
  const { version } = await upload(world.client, content.subarray(65_536), { ...announced, offset: 65_536n })
  expect(version).toMatchObject({ sha256: sha256(content), sizeBytes: BigInt(content.length) })
  const { receivedBytes, document } = await world.client.getUploadStatus({ requestId: 'resumed' })
  expect({ receivedBytes, version: document?.currentVersion }).toEqual({ receivedBytes: 150_000n, version })
  expect((await traces()).staged).toBe(before.staged)
})

it('begins an interrupted upload anew at offset 0', async () => {
  const content = long(100_000)
  await interrupt({ requestId: 'anew' }, long(50_000))
  const { version } = await upload(world.client, content, { requestId: 'anew' })
  expect(version.sha256).toBe(sha256(content))
  expect(await world.staged()).toEqual([])
})

it('lets the newest stream of a resumed upload win over one that hangs', async () => {
  const content = long(120_000)
  const hanging = new AbortController()
  const stalled = Promise.withResolvers<void>()
  const first = failure(
    world.client.uploadDocument(
      stalling(uploadOf({ requestId: 'hung' }, content.subarray(0, 60_000)), stalled.resolve),
      { signal: hanging.signal },
    ),
  )
  await stalled.promise
  await eventually(async () => {
    const { receivedBytes } = await world.client.getUploadStatus({ requestId: 'hung' })
    expect(receivedBytes).toBe(60_000n)
  })
  const { version } = await upload(world.client, content.subarray(60_000), {
    requestId: 'hung',
    offset: 60_000n,
  })
  hanging.abort()
  await first
  expect(version.sha256).toBe(sha256(content))
  await eventually(async () => expect(await world.staged()).toEqual([]))
})

it('keeps nothing of an interrupted upload without request id', async () => {
  const before = await traces()
  await interrupt({}, long(40_000))
  await eventually(async () => expect(await traces()).toEqual(before))
})

it('returns NOT_FOUND for the status of an upload that nobody began', async () => {
  expect(await failure(world.client.getUploadStatus({ requestId: 'unknown' }))).toMatchObject({
    code: Code.NOT_FOUND,
    reason: 'UPLOAD_NOT_FOUND',
  })
  expect(await failure(world.client.getUploadStatus({}))).toMatchObject({
    code: Code.INVALID_ARGUMENT,
    options: { fields: [{ field: 'request_id' }] },
  })
})

const fine = 'Um texto que se pode ler.\n'
const refusals: {
  title: string
  metadata?: Partial<UploadMetadata>
  content?: Uint8Array | string
  code: Code
  reason: string
  fields?: string[]
}[] = [
  { title: 'no bytes', content: '', code: Code.INVALID_ARGUMENT, reason: 'EMPTY_DOCUMENT' },
  {
    title: 'bytes of another checksum',
    metadata: { sha256: sha256('other') },
    code: Code.INVALID_ARGUMENT,
    reason: 'CHECKSUM_MISMATCH',
  },
  {
    title: 'fewer bytes than announced',
    metadata: { sizeBytes: 1_000n },
    code: Code.INVALID_ARGUMENT,
    reason: 'SIZE_MISMATCH',
  },
  {
    title: 'more bytes than announced',
    metadata: { sizeBytes: 3n },
    code: Code.INVALID_ARGUMENT,
    reason: 'SIZE_MISMATCH',
  },
  {
    title: 'too large a size announced',
    metadata: { sizeBytes: BigInt(MAX_BYTES + 1) },
    code: Code.RESOURCE_EXHAUSTED,
    reason: 'DOCUMENT_TOO_LARGE',
  },
  {
    title: 'too many bytes',
    content: long(MAX_BYTES + 1),
    code: Code.RESOURCE_EXHAUSTED,
    reason: 'DOCUMENT_TOO_LARGE',
  },
  {
    title: 'a type that is not supported',
    content: Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'),
    code: Code.INVALID_ARGUMENT,
    reason: 'UNSUPPORTED_TYPE',
  },
  {
    title: 'bytes that begin behind the end',
    metadata: { offset: 10n },
    code: Code.OUT_OF_RANGE,
    reason: 'UPLOAD_OFFSET_MISMATCH',
  },
  {
    title: 'a version of a document that is not there',
    metadata: { documentId: '0190a000-0000-7000-8000-000000000000' },
    code: Code.NOT_FOUND,
    reason: 'DOCUMENT_NOT_FOUND',
  },
  {
    title: 'metadata that are wrong in every field',
    metadata: {
      name: '  ',
      requestId: 'r'.repeat(256),
      sha256: 'ABC',
      sizeBytes: -1n,
      offset: -1n,
      documentId: '42',
      tags: [''],
      attributes: Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`key${index}`, 'value'])),
    },
    code: Code.INVALID_ARGUMENT,
    reason: 'INVALID_REQUEST',
    fields: ['name', 'tags', 'attributes', 'request_id', 'sha256', 'size_bytes', 'offset', 'document_id'],
  },
  {
    title: 'names, tags and attributes with a character that no database takes',
    metadata: { name: 'a\0', requestId: 'r\0', tags: ['t\0'], attributes: { key: 'v\0' } },
    code: Code.INVALID_ARGUMENT,
    reason: 'INVALID_REQUEST',
    fields: ['name', 'tags', 'attributes', 'request_id'],
  },
]

it.each(refusals)(
  'refuses $title and keeps nothing',
  async ({ metadata, content = fine, code, reason, fields }) => {
    for (const requestId of metadata?.requestId === undefined
      ? ['', `refused-${reason}`]
      : [metadata.requestId]) {
      const before = await traces()
      const error = await failure(upload(world.client, content, { ...metadata, requestId }))
      expect(error).toMatchObject({ code, reason })
      expect(error.options.fields?.map(({ field }) => field)).toEqual(
        fields?.map((field) => `metadata.${field}`),
      )
      expect(await traces()).toEqual(before)
    }
  },
)

it('refuses chunks that come first, are too large, or are no chunks', async () => {
  const before = await traces()
  const [metadata, chunk] = await Array.fromAsync(uploadOf({ requestId: 'order' }, Buffer.from(fine)))
  if (!metadata || !chunk) throw new Error('two messages')
  const send = (messages: (typeof metadata)[]) =>
    failure(
      world.client.uploadDocument(
        (async function* () {
          yield* messages
        })(),
      ),
    )
  const large = { part: { $case: 'chunk' as const, value: Buffer.alloc(65_537, 'a') } }
  const errors = [
    await send([chunk]),
    await send([]),
    await send([metadata, large]),
    await send([metadata, chunk, metadata]),
  ]
  expect(errors.map(({ code, options }) => ({ code, field: options.fields?.[0]?.field }))).toEqual(
    ['metadata', 'metadata', 'chunk', 'part'].map((field) => ({ code: Code.INVALID_ARGUMENT, field })),
  )
  expect(await traces()).toEqual(before)
})

it('adds a version to a document', async () => {
  const { document } = await upload(world.client, unique(), { name: 'ata.txt', tags: ['ata'] })
  const content = unique()
  const { document: changed } = await upload(world.client, content, {
    name: 'other',
    documentId: document.id,
  })
  expect(changed).toMatchObject({
    id: document.id,
    name: 'ata.txt',
    tags: ['ata'],
    currentVersion: { number: 2, sha256: sha256(content) },
  })
  expect(changed.etag).not.toBe(document.etag)
  expect((await world.client.getDocument({ documentId: document.id })).document).toEqual(changed)
  expect(
    (await failure(upload(world.clientAs('rival'), unique(), { name: 'x', documentId: document.id }))).reason,
  ).toBe('DOCUMENT_NOT_FOUND')
})

it('numbers versions that are added at the same time one after the other', async () => {
  const { document } = await upload(world.client, unique())
  const added = await Promise.all(
    Array.from({ length: 4 }, () => upload(world.client, unique(), { documentId: document.id })),
  )
  expect(added.map(({ version }) => version.number).sort()).toEqual([2, 3, 4, 5])
})

it('leaves no row, content or event when the transaction fails', async () => {
  const failing = world.clientAt(await world.serve(() => Promise.reject(new Error('the log is full'))))
  const before = await traces()
  const error = await failure(upload(failing, unique()))
  expect(error).toMatchObject({ code: Code.INTERNAL, message: 'An internal error occurred.' })
  expect(await traces()).toEqual(before)
})

it('does not ask again for the bytes of an upload whose transaction failed', async () => {
  const failing = world.clientAt(await world.serve(() => Promise.reject(new Error('the log is full'))))
  const content = unique()
  await failure(upload(failing, content, { requestId: 'failed' }))
  const { receivedBytes } = await world.client.getUploadStatus({ requestId: 'failed' })
  expect(receivedBytes).toBe(BigInt(content.length + 1))
  const { version } = await upload(world.client, '', { requestId: 'failed', offset: receivedBytes })
  expect(version.sha256).toBe(sha256(content))
})

it('announces a new document and a new version, each once', async () => {
  const content = unique()
  const { document, version } = await upload(world.client, content, {
    name: 'ata.txt',
    requestId: 'announced',
  })
  await upload(world.client, content, { name: 'ata.txt', requestId: 'announced' })
  await upload(world.client, unique(), { documentId: document.id })
  const history = await world.events.history('document', document.id)
  expect(history.map(({ type, tenantId, userId }) => ({ type, tenantId, userId }))).toEqual([
    { type: 'docmesh.document.v1.DocumentCreated', tenantId: 'acme', userId: 'ana' },
    { type: 'docmesh.document.v1.DocumentVersionAdded', tenantId: 'acme', userId: 'ana' },
  ])
  expect(version.number).toBe(1)
})

it('sweeps away uploads that nobody resumed for a day', async () => {
  await interrupt({ requestId: 'abandoned' }, long(40_000))
  const after = (ms: number) => world.uploadsAt(new Date(Date.now() + ms)).sweep()
  await after(86_400_000 - 60_000)
  expect(await world.staged()).toHaveLength(1)
  await after(86_400_000 + 60_000)
  expect(await world.staged()).toEqual([])
  expect((await failure(world.client.getUploadStatus({ requestId: 'abandoned' }))).code).toBe(Code.NOT_FOUND)
})

it('stores nothing of an upload whose connection breaks', async () => {
  const before = await traces()
  const content = long(90_000)
  await using proxy = await tcpProxy(`http://${world.address}`)
  const stalled = Promise.withResolvers<void>()
  const call = failure(
    world
      .clientAt(`127.0.0.1:${proxy.port}`)
      .uploadDocument(stalling(uploadOf({ requestId: 'cut' }, content.subarray(0, 50_000)), stalled.resolve)),
  )
  const received = async () => (await world.client.getUploadStatus({ requestId: 'cut' })).receivedBytes
  await eventually(async () => expect(await received()).toBe(50_000n))
  proxy.cut()
  expect((await call).code).toBe(Code.UNAVAILABLE)
  const { version } = await upload(world.client, content.subarray(50_000), {
    requestId: 'cut',
    offset: 50_000n,
  })
  expect(version.sha256).toBe(sha256(content))
  await eventually(async () =>
    expect(await traces()).toMatchObject({ documents: before.documents + 1, staged: before.staged }),
  )
})

it('stores nothing for a tenant whose name is longer than an index takes', async () => {
  const before = await traces()
  const client = world.clientAs(randomBytes(4_000).toString('hex'))
  expect(await failure(upload(client, unique()))).toMatchObject({
    code: Code.INVALID_ARGUMENT,
    options: { fields: [{ field: 'docmesh-tenant-id' }] },
  })
  expect(await traces()).toEqual(before)
})
