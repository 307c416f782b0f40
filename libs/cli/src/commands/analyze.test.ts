import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AnalysisState, ReportFormat, StepState, Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import type { UploadMetadata } from '@docmesh/contracts/document/v1/document'
import { invalidRequest, rpcError } from '@docmesh/rpc'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { docmesh, ioInterruptedAtInput, testIo } from '../testing.fixture.ts'
import { failing, world } from './analyze.fixture.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const file = (name: string, content: string | Buffer = 'some text'): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

describe('analyze', () => {
  it('uploads in chunks of at most 64 KiB with checksum, size and a request id', async () => {
    const content = Buffer.alloc(150_000, 'contract ')
    const { services, uploads } = world()
    await docmesh(['analyze', file('a.txt', content)], { services })
    const [upload] = uploads
    expect(upload?.content.equals(content)).toBe(true)
    expect(upload?.largestChunk).toBe(64 * 1024)
    expect(upload?.metadata).toMatchObject({
      name: 'a.txt',
      sizeBytes: 150_000n,
      sha256: createHash('sha256').update(content).digest('hex'),
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
  })

  it('prints the report on stdout, all pages of findings, and the steps on stderr', async () => {
    const { services } = world()
    const { exitCode, out, err } = await docmesh(['analyze', file('a.txt')], { services })
    expect(exitCode).toBe(0)
    for (const words of ['a.txt', '63/100', 'CT-001  First page', 'CT-002  Second page'])
      expect(out).toContain(words)
    expect(err).toBe('a.txt: upload 0 %\na.txt: extract 10 %\na.txt: rules 55 %\na.txt: done 100 %\n')
  })

  it('asks for the packs, the language and the notification that the user wants', async () => {
    const { services, started } = world()
    const args = [
      '--rules',
      'core.contract',
      '--rules',
      'core.document@1.0.0',
      '--locale',
      'pt-BR',
      '--notify',
    ]
    await docmesh(['analyze', file('a.txt'), ...args], { services })
    expect(started[0]?.options).toMatchObject({
      rulePacks: ['core.contract', 'core.document@1.0.0'],
      locale: 'pt-BR',
      notify: true,
    })
  })

  it('acts as the user and tenant of the options in every call', async () => {
    const { services, callers } = world()
    await docmesh(['--user', 'maria', 'analyze', file('a.txt'), '--tenant', 't-1'], { services })
    expect(callers.map(({ userId, tenantId }) => [userId, tenantId])).toEqual([
      ['maria', 't-1'],
      ['maria', 't-1'],
    ])
  })

  it('reads standard input for -', async () => {
    const { services, uploads } = world()
    await docmesh(['analyze', '-'], { services, io: testIo({ stdin: 'from a pipe' }) })
    expect(uploads[0]?.content.toString()).toBe('from a pipe')
    expect(uploads[0]?.metadata.name).toBe('stdin')
  })

  it('ends with 130 at Ctrl-C while it waits for standard input', async () => {
    const { services, uploads } = world()
    const { exitCode } = await docmesh(['analyze', '-'], { services, io: ioInterruptedAtInput() })
    expect({ exitCode, uploads }).toEqual({ exitCode: 130, uploads: [] })
  })

  it('reads a pipe with a name, such as <(curl …), once', async () => {
    const pipe = join(folder, 'pipe')
    execFileSync('/bin/sh', ['-c', 'mkfifo "$0"', pipe])
    const { services, uploads } = world()
    const written = writeFile(pipe, 'from a pipe')
    const { exitCode } = await docmesh(['analyze', pipe], { services })
    await written
    expect({ exitCode, content: uploads[0]?.content.toString() }).toEqual({
      exitCode: 0,
      content: 'from a pipe',
    })
  })

  it('shows a file name that would command the terminal as plain text', async () => {
    const { services } = world()
    const { err } = await docmesh(['analyze', file('a\u001b[2J\nb.txt'), file('refuse\u001b[2J\n.bin')], {
      services,
    })
    expect(err).not.toContain('\u001b')
    expect(err).toContain('a [2J b.txt: done 100 %\n')
    expect(err).toContain('refuse [2J .bin: This type of file is not supported')
  })

  it('goes on watching when the stream breaks', async () => {
    let watches = 0
    const { services } = world({
      analyses: {
        async *watchAnalysis({ analysisId }) {
          if (++watches === 1) {
            yield { analysis: { id: analysisId, state: AnalysisState.RUNNING } }
            throw rpcError('SHUTTING_DOWN', 'This instance is ending.')
          }
          const result = { score: 90, verdict: Verdict.PASS }
          yield { analysis: { id: analysisId, state: AnalysisState.COMPLETED, result } }
        },
      },
    })
    const { exitCode, out } = await docmesh(['analyze', file('a.txt')], { services })
    expect({ exitCode, watches }).toEqual({ exitCode: 0, watches: 2 })
    expect(out).toContain('90/100  PASS')
  })

  it('resumes an upload from the bytes that were kept', async () => {
    const content = Buffer.alloc(200_000, 'x')
    const kept = 128 * 1024
    const attempts: { offset: number; bytes: number; requestId: string }[] = []
    const { services } = world({
      documents: {
        async uploadDocument(requests) {
          let bytes = 0
          let metadata: UploadMetadata | undefined
          for await (const { part } of requests) {
            if (part?.$case === 'metadata') metadata = part.value
            else bytes += part?.value.length ?? 0
            if (attempts.length === 0 && bytes >= kept) break
          }
          attempts.push({ offset: Number(metadata?.offset), bytes, requestId: metadata?.requestId ?? '' })
          if (attempts.length === 1) throw rpcError('SHUTTING_DOWN', 'This instance is ending.')
          return { document: { id: 'd-1', currentVersion: { number: 1 } } }
        },
        getUploadStatus: async ({ requestId }) =>
          requestId === attempts[0]?.requestId ? { receivedBytes: BigInt(kept) } : {},
      },
    })
    const { exitCode } = await docmesh(['analyze', file('a.txt', content)], { services })
    expect(exitCode).toBe(0)
    expect(attempts.map(({ offset, bytes }) => [offset, bytes])).toEqual([
      [0, kept],
      [kept, content.length - kept],
    ])
  })

  it('ends with 3 when the file goes away while it is uploaded', async () => {
    const path = file('a.txt')
    const { services } = world({
      documents: {
        async uploadDocument() {
          rmSync(path)
          throw rpcError('SHUTTING_DOWN', 'This instance is ending.')
        },
        getUploadStatus: () => Promise.reject(rpcError('UPLOAD_NOT_FOUND', 'No such upload.')),
      },
    })
    const { exitCode, err } = await docmesh(['analyze', path], { services })
    expect({ exitCode, err }).toEqual({ exitCode: 3, err: expect.stringContaining('there is no such file') })
  })

  it('cancels the analysis on Ctrl-C, as the same user, and ends with 130', async () => {
    const io = testIo({ onErr: (text) => text.includes('rules') && io.interrupt() })
    const { services, cancelled, callers } = world({
      analyses: {
        async *watchAnalysis({ analysisId }, { signal }) {
          const steps = [{ name: 'rules', state: StepState.RUNNING }]
          yield { analysis: { id: analysisId, state: AnalysisState.RUNNING, steps } }
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
        },
      },
    })
    const { exitCode, out, err } = await docmesh(['analyze', file('a.txt'), '--user', 'ana'], {
      services,
      io,
    })
    expect({ exitCode, cancelled, out }).toEqual({ exitCode: 130, cancelled: ['a-1'], out: '' })
    expect(callers.at(-1)?.userId).toBe('ana')
    expect(err).toContain('docmesh: interrupted\n')
  })
})

describe('exit code of analyze', () => {
  it.each([
    ['0 for a failing document without --fail-under', 40, Verdict.FAIL, [], 0],
    ['1 below --fail-under', 69, Verdict.PASS, ['--fail-under', '70'], 1],
    ['0 at --fail-under', 70, Verdict.PASS, ['--fail-under', '70'], 0],
    ['1 for the verdict fail above --fail-under', 90, Verdict.FAIL, ['--fail-under', '70'], 1],
    ['0 for an incomplete verdict above --fail-under', 90, Verdict.INCOMPLETE, ['--fail-under', '0'], 0],
  ])('is %s', async (_, score, verdict, args, exitCode) => {
    const { services } = world({ score, verdict })
    expect((await docmesh(['analyze', file('a.txt'), ...args], { services })).exitCode).toBe(exitCode)
  })

  it('is 3 for a document that the service refuses', async () => {
    const { services } = world()
    const { exitCode, err } = await docmesh(['analyze', file('refuse.bin')], { services })
    expect(exitCode).toBe(3)
    expect(err).toContain('docmesh: This type of file is not supported (Upload PDF')
  })

  it('is 3 for a document that cannot be read, 5 for any other failure', async () => {
    const unreadable = world(failing({ reason: 'DOCUMENT_UNREADABLE', message: 'The file is encrypted.' }))
    const broken = world(failing({ reason: 'INTERNAL', message: 'The rules step failed.' }))
    const first = await docmesh(['analyze', file('a.txt')], unreadable)
    const second = await docmesh(['analyze', file('a.txt')], broken)
    expect([first.exitCode, second.exitCode]).toEqual([3, 5])
    expect(first.err).toContain('docmesh: The file is encrypted\n')
  })

  it('is 3 for a file that is not there or is a folder', async () => {
    const { services } = world()
    const missing = await docmesh(['analyze', join(folder, 'nothing.pdf')], { services })
    const dir = await docmesh(['analyze', folder], { services })
    expect([missing.exitCode, dir.exitCode]).toEqual([3, 3])
    expect(missing.err).toContain('there is no such file')
    expect(dir.err).toContain('is a folder')
  })

  it('is 2 for a rule pack that is not there, with the wrong field', async () => {
    const { services } = world({
      analyses: {
        startAnalysis: () =>
          Promise.reject(
            invalidRequest([{ field: 'options.rule_packs', description: 'write core.contract' }]),
          ),
      },
    })
    const { exitCode, err } = await docmesh(['analyze', file('a.txt')], { services })
    expect(exitCode).toBe(2)
    expect(err).toContain('\n  options.rule_packs: write core.contract\n')
  })

  it('is 4 when the time of --timeout is up', async () => {
    const { services } = world({
      analyses: { startAnalysis: () => new Promise(() => {}) },
    })
    const { exitCode, err } = await docmesh(['analyze', file('a.txt'), '--timeout', '200ms'], { services })
    expect(exitCode).toBe(4)
    expect(err).toContain('did not answer in time')
  })
})

describe('report of analyze', () => {
  it('is what the service renders, for json, html and markdown', async () => {
    const { services } = world()
    for (const [args, format] of [
      [['--json'], ReportFormat.JSON],
      [['--format', 'html'], ReportFormat.HTML],
      [['--format', 'markdown'], ReportFormat.MARKDOWN],
    ] as const) {
      const { out } = await docmesh(['analyze', file('a.txt'), ...args, '--locale', 'pt-BR'], { services })
      expect(JSON.parse(out)).toEqual({ name: 'a.txt', format, locale: 'pt-BR' })
    }
  })

  it('goes to a file with --output, with nothing on stdout', async () => {
    const { services } = world()
    const output = join(folder, 'reports', 'a.json')
    const { out, err } = await docmesh(['analyze', file('a.txt'), '--json', '--output', output], { services })
    expect(out).toBe('')
    expect(err).toContain(`report written to ${output}`)
    expect(JSON.parse(readFileSync(output, 'utf8')).name).toBe('a.txt')
  })

  it('of several files is a JSON array, or one SARIF log with all runs', async () => {
    const files = [file('a.txt'), file('b.txt')]
    const json = await docmesh(['analyze', ...files, '--json'], world())
    expect(JSON.parse(json.out).map(({ name }: { name: string }) => name)).toEqual(['a.txt', 'b.txt'])
    const sarif = await docmesh(['analyze', ...files, '--format', 'sarif'], world())
    expect(JSON.parse(sarif.out)).toEqual({ version: '2.1.0', runs: [{ name: 'a.txt' }, { name: 'b.txt' }] })
  })

  it('of several files goes to a folder with --output, one file each', async () => {
    const { services } = world()
    const output = join(folder, 'reports')
    await docmesh(['analyze', file('a.txt'), file('b.txt'), '--format', 'html', '--output', output], {
      services,
    })
    for (const name of ['a.txt', 'b.txt'])
      expect(readFileSync(join(output, `${name}.html`), 'utf8')).toContain(`"name":"${name}"`)
  })

  it.each(['reports/', 'there'])('of one file goes into --output %s, which is a folder', async (output) => {
    const { services } = world()
    mkdirSync(join(folder, 'there'))
    const args = ['--json', '--output', `${folder}/${output}`]
    const { exitCode } = await docmesh(['analyze', file('a.txt'), ...args], { services })
    expect(exitCode).toBe(0)
    expect(JSON.parse(readFileSync(join(folder, output, 'a.txt.json'), 'utf8')).name).toBe('a.txt')
  })

  it.each([
    [['a.txt', 'refuse.bin'], ['a.txt']],
    [['refuse.a', 'refuse.b'], []],
  ])('of %j is a JSON array', async (names, reported) => {
    const { services } = world()
    const { out } = await docmesh(['analyze', ...names.map((name) => file(name)), '--json'], { services })
    expect(JSON.parse(out).map(({ name }: { name: string }) => name)).toEqual(reported)
  })

  it.each([
    ['Ctrl-C', 130],
    ['the end of the mesh', 4],
  ])('of the files before %s is written', async (what, code) => {
    const io = testIo()
    const { services } = world({
      analyses: {
        async startAnalysis({ documentId }) {
          if (documentId === 'd-1') return { analysis: { id: 'a-1', state: AnalysisState.QUEUED } }
          if (what === 'Ctrl-C') io.interrupt()
          throw rpcError('NO_ENDPOINT', 'No instance of analysis is available.')
        },
      },
    })
    const output = join(folder, 'reports')
    const args = [file('a.txt'), file('b.txt'), '--json', '--output', output]
    const { exitCode } = await docmesh(['analyze', ...args], { services, io })
    expect({ exitCode, written: readdirSync(output) }).toEqual({ exitCode: code, written: ['a.txt.json'] })
  })

  it('leaves out what was refused, goes on, sums up, and ends with the worst code', async () => {
    const { services } = world({ score: 50 })
    const files = [file('a.txt'), file('refuse.bin'), file('c.txt')]
    const { exitCode, out, err } = await docmesh(['analyze', ...files, '--json', '--fail-under', '70'], {
      services,
    })
    expect(exitCode).toBe(3)
    expect(JSON.parse(out)).toHaveLength(2)
    expect(err).toContain(`docmesh: ${files[1]}: This type of file is not supported`)
    expect(err).toMatch(/EXIT +SCORE +FILE +RESULT\n1 +50 +\S+a\.txt +FAIL\n3 +- +\S+refuse\.bin +This type/)
  })

  it('of several files as HTML needs a folder', async () => {
    const { services, uploads } = world()
    const args = ['analyze', file('a.txt'), file('b.txt'), '--format', 'html']
    const { exitCode, err } = await docmesh(args, { services })
    expect({ exitCode, uploads }).toEqual({ exitCode: 2, uploads: [] })
    expect(err).toContain('add --output FOLDER')
  })
})
