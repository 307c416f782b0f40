import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Priority } from '@docmesh/contracts/analysis/v1/analysis'
import { rpcError } from '@docmesh/rpc'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { docmesh, type TestIoOptions, type TestServices, testIo } from '../testing.fixture.ts'
import { batchWorld } from './batch.fixture.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const file = (name: string, content = 'score 80'): string => {
  const path = join(folder, 'docs', name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, content)
  return path
}
const docs = () => join(folder, 'docs')
const ioHere = (options: TestIoOptions = {}) =>
  testIo({ ...options, env: { XDG_STATE_HOME: join(folder, 'state') } })
const journals = (): string[] => {
  const path = join(folder, 'state', 'docmesh', 'batches')
  return existsSync(path) ? readdirSync(path) : []
}
const batch = (
  args: readonly string[],
  { services }: Pick<ReturnType<typeof batchWorld>, 'services'>,
  io = ioHere(),
) => docmesh(['batch', ...args], { services, io })

describe('batch', () => {
  it('makes one batch of the documents in files and folders, with what the user wants', async () => {
    const world = batchWorld()
    const named = file('named.bin')
    for (const name of ['b.pdf', 'a.TXT', 'deep/er/c.md', 'skip.exe', '.hidden.pdf', '.git/d.md']) file(name)
    const options = '--rules core.contract --locale pt-BR --parallelism 3 --priority high --notify'
    const { exitCode } = await batch([named, docs(), '--name', 'Maio', ...options.split(' ')], world)
    expect(exitCode).toBe(0)
    expect(world.batches).toMatchObject([
      {
        header: {
          name: 'Maio',
          parallelism: 3,
          options: {
            rulePacks: ['core.contract'],
            locale: 'pt-BR',
            priority: Priority.HIGH,
            notify: true,
          },
        },
      },
    ])
    // In the order of the files, whichever upload ended first.
    const names = new Map(world.uploads.map(({ documentId, name }) => [documentId, name]))
    expect(world.batches[0]?.documentIds.map((id) => names.get(id))).toEqual([
      'named.bin',
      'a.TXT',
      'b.pdf',
      'c.md',
    ])
  })

  it('sums up: counts, mean score, the worst documents first, and what failed', async () => {
    file('good.txt', 'score 90')
    file('bad.txt', 'score 12')
    file('locked.pdf', 'secret')
    file('refuse.pdf')
    const { exitCode, out, err } = await batch([docs(), '--name', 'Maio'], batchWorld())
    expect(exitCode).toBe(3)
    expect(out).toMatch(
      /^batch b-1 “Maio”: partial\n3 documents: 2 completed, 1 failed, 0 cancelled, 1 not up/,
    )
    expect(out).toContain('mean score: 51.0\n')
    expect(out).toMatch(/WORST DOCUMENTS\n12 +FAIL +\S+bad\.txt\n90 +PASS +\S+good\.txt\n/)
    expect(out).toMatch(/locked\.pdf +The file is encrypted\.\n\S+refuse\.pdf +This type of file is not/)
    expect(err).toMatch(/docmesh: \S+refuse\.pdf: This type of file is not supported\n/)
  })

  it('is JSON with every document with --json', async () => {
    file('a.txt', 'score 90')
    file('b.pdf', 'secret')
    file('refuse.pdf')
    const { out } = await batch([docs(), '--json'], batchWorld())
    expect(JSON.parse(out)).toMatchObject({
      batch: { id: 'b-1', state: 'BATCH_STATE_PARTIAL', total: 2 },
      documents: [
        { file: join(docs(), 'a.txt'), state: 'completed', score: 90, verdict: 'pass' },
        { file: join(docs(), 'b.pdf'), state: 'failed', failure: 'The file is encrypted.' },
      ],
      notUploaded: [{ file: join(docs(), 'refuse.pdf') }],
    })
  })

  it('tells a log what it does in a few lines, and a terminal with a bar', async () => {
    for (let count = 0; count < 20; count++) file(`${count}.txt`)
    const log = await batch([docs()], batchWorld())
    expect(log.err).toMatch(/^uploaded 0\/20\nuploaded 20\/20.*\nanalysed 0\/20\nanalysed 20\/20.*\n$/)
    const terminal = await batch([docs()], batchWorld(), ioHere({ terminal: true }))
    expect(terminal.err).toContain('[########################] 100 %  uploaded 20/20')
    expect(terminal.err.endsWith('\r\u001b[2K')).toBe(true)
  })

  it.each([
    ['0 without --fail-under', 'score 10', [], 0],
    ['1 when a document is below --fail-under', 'score 69', ['--fail-under', '70'], 1],
    ['0 when none is', 'score 70', ['--fail-under', '70'], 0],
    ['3 for a document that cannot be read', 'secret', [], 3],
  ])('ends with %s', async (_, content, args, exitCode) => {
    file('a.txt', 'score 100')
    file('b.txt', content)
    expect((await batch([docs(), ...args], batchWorld())).exitCode).toBe(exitCode)
  })

  it('goes on without what is not there, and ends with 3', async () => {
    const world = batchWorld()
    const missing = join(folder, 'nothing.pdf')
    const { exitCode, err } = await batch([missing, file('a.txt')], world)
    expect({ exitCode, batches: world.batches.length }).toEqual({ exitCode: 3, batches: 1 })
    expect(err).toContain(`docmesh: ${missing}: there is no such file\n`)
  })

  it('makes no batch when there is no document, or none could be uploaded', async () => {
    const world = batchWorld()
    mkdirSync(docs())
    expect(await batch([docs()], world)).toMatchObject({ exitCode: 2, out: '' })
    file('refuse.pdf')
    expect(await batch([docs()], world)).toMatchObject({ exitCode: 3, out: '' })
    expect(world.batches).toEqual([])
    expect(journals()).toEqual([])
  })

  it('ends with 2 for a rule pack that is not there, and forgets the try', async () => {
    file('a.txt')
    const { exitCode, err } = await batch([docs(), '--rules', 'no.such'], batchWorld())
    expect(exitCode).toBe(2)
    expect(err).toContain('docmesh: No rule pack is called "no.such"')
    expect(journals()).toEqual([])
  })

  it('says where it cannot keep its state', async () => {
    writeFileSync(join(folder, 'state'), 'a file where a folder should be')
    const { exitCode, err } = await batch([file('a.txt')], batchWorld())
    expect(exitCode).toBe(2)
    expect(err).toContain('set XDG_STATE_HOME')
  })

  it('sends a broken stream again as the same batch, and goes on watching', async () => {
    let watches = 0
    const world = batchWorld({
      onCreate(times) {
        if (times === 1) throw rpcError('SHUTTING_DOWN', 'This instance is ending.')
      },
      async untilEnd() {
        if (++watches === 1) throw rpcError('SHUTTING_DOWN', 'This instance is ending.')
      },
    })
    file('a.txt')
    const { exitCode } = await batch([docs()], world)
    expect({ exitCode, created: world.created(), watches }).toEqual({ exitCode: 0, created: 2, watches: 2 })
    expect(world.batches).toHaveLength(1)
  })
})

describe('an instance with too much to do', () => {
  it('gets a document later that it did not take at once', async () => {
    const world = batchWorld()
    let asked = 0
    const { uploadDocument } = world.services.documents ?? {}
    const services: TestServices = {
      ...world.services,
      documents: {
        ...world.services.documents,
        async uploadDocument(requests, call) {
          if (++asked === 1) throw rpcError('OVERLOADED', 'The instance has too much to do.')
          return uploadDocument?.(requests, call) ?? {}
        },
        getUploadStatus: () => Promise.reject(rpcError('UPLOAD_NOT_FOUND', 'No such upload.')),
      },
    }
    file('a.txt')
    const { exitCode } = await batch([docs()], { services })
    expect({ exitCode, asked, documents: world.batches[0]?.documentIds }).toEqual({
      exitCode: 0,
      asked: 2,
      documents: ['d-1'],
    })
  })
})

describe('after Ctrl-C', () => {
  it('during the uploads, the same command uploads the rest and no file twice', async () => {
    const io = ioHere()
    let interruptAt = 7
    const world = batchWorld({
      onUpload: (count) => {
        if (count === interruptAt) io.interrupt()
      },
    })
    for (let count = 0; count < 12; count++) file(`${count}.txt`, `score ${count}`)
    const first = await batch([docs()], world, io)
    expect(first).toMatchObject({ exitCode: 130, out: '' })
    expect(first.err).toMatch(/\d+ of 12 files are uploaded: the same command goes on from there\n/)
    expect(world.batches).toEqual([])
    interruptAt = 0
    const second = await batch([docs()], world)
    expect(second.exitCode).toBe(0)
    expect(world.uploads).toHaveLength(12)
    expect(world.asked()).toBeLessThan(24)
    expect(world.batches).toHaveLength(1)
    expect(new Set(world.batches[0]?.documentIds).size).toBe(12)
  })

  it('during the analyses, the batch goes on and the same command comes back to it', async () => {
    const io = ioHere({ onErr: (text) => text.startsWith('analysed') && io.interrupt() })
    let patient = true
    const world = batchWorld({
      untilEnd: (signal) =>
        patient
          ? new Promise((resolve) => signal.addEventListener('abort', () => resolve()))
          : Promise.resolve(),
    })
    file('a.txt', 'score 33')
    file('refuse.txt')
    const first = await batch([docs()], world, io)
    expect(first.exitCode).toBe(130)
    expect(first.err).toContain('batch b-1 goes on')
    expect(first.err).toContain('docmesh batches cancel b-1')
    expect(journals()).toHaveLength(1)

    patient = false
    file('late.txt')
    const second = await batch([docs()], world)
    expect(second.err).toContain('coming back to batch b-1; files that are new since, for the next one: 1\n')
    expect(second.out).toMatch(/33 +FAIL +\S+a\.txt\n/)
    expect(second.out).toContain('refuse.txt')
    expect(second.exitCode).toBe(3)
    expect([world.asked(), world.created()]).toEqual([2, 1])
    expect(journals()).toEqual([])

    await batch([docs()], world)
    expect(world.batches).toHaveLength(2)
  })

  it('another command, user or registry begins a batch of its own', async () => {
    const world = batchWorld({ untilEnd: () => Promise.reject(rpcError('INTERNAL', 'The watch broke.')) })
    file('a.txt')
    const variants = [
      [],
      ['--rules', 'core.contract'],
      ['--name', 'x'],
      ['--user', 'ana'],
      ['--tenant', 't-1'],
      ['--registry', '127.0.0.1:7401'],
    ]
    for (const args of variants) expect((await batch([docs(), ...args], world)).exitCode).toBe(5)
    expect(world.batches).toHaveLength(variants.length)
    expect(journals()).toHaveLength(variants.length)
  })

  it('a batch that is gone is forgotten', async () => {
    const broken = batchWorld({ untilEnd: () => Promise.reject(rpcError('INTERNAL', 'The watch broke.')) })
    file('a.txt')
    await batch([docs()], broken)
    const { exitCode, err } = await batch([docs()], batchWorld())
    expect(exitCode).toBe(2)
    expect(err).toContain('the batch is gone (the same command begins another one)')
    expect(await batch([docs()], batchWorld())).toMatchObject({ exitCode: 0 })
  })
})
