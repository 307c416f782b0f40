import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openPostgres } from '@docmesh/postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixture } from './analyze.ts'
import { type Fleet, START_MS, startFleet } from './fleet.ts'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'docmesh-bad-input-'))
let fleet: Fleet

beforeAll(async () => {
  fleet = await startFleet({ env: { DOCUMENT_MAX_BYTES: '200000' } })
}, START_MS)
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await fleet[Symbol.asyncDispose]()
})

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const docmesh = (...args: string[]): Promise<Ended> =>
  new Promise((resolve) => {
    const program = [join(root, 'libs/cli/src/main.ts'), '--registry', fleet.registryTarget, ...args]
    execFile(process.execPath, program, { cwd: root }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })

function file(name: string, content: Buffer | string): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

const BAD_FILES: Record<string, [() => string, number, RegExp]> = {
  'a binary that is no document': [
    () => file('noise.pdf', Buffer.from(Array.from({ length: 4_096 }, (_, at) => (at * 37) % 256))),
    3,
    /not supported/,
  ],
  'an empty file': [() => file('empty.pdf', ''), 3, /empty/],
  'an encrypted PDF': [() => file('encrypted.pdf', fixture('encrypted.pdf')), 3, /password/],
  'a truncated PDF': [() => file('truncated.pdf', fixture('truncated.pdf')), 3, /damaged|cut short/],
  'a scan without text': [() => file('scan.pdf', fixture('scan-only.pdf')), 3, /scanned/],
  'a decompression bomb': [() => file('bomb.docx', fixture('bomb.docx')), 3, /expands|bomb/],
  'a DOCX with a DOCTYPE': [() => file('doctype.docx', fixture('doctype.docx')), 3, /damaged/],
  'a file over the limit': [() => file('large.txt', 'a'.repeat(200_001)), 3, /200000 bytes/],
  'a file that does not exist': [() => join(folder, 'nobody.pdf'), 3, /nobody\.pdf/],
}

describe('docmesh with bad input', () => {
  it.each(Object.entries(BAD_FILES))(
    'says in one line what is wrong with %s',
    async (_, [path, code, message]) => {
      const ended = await docmesh('analyze', path())
      const said = ended.stderr.split('\n').filter((line) => line.startsWith('docmesh:'))
      expect(said).toHaveLength(1)
      expect(said[0]).toMatch(message)
      expect(ended.stderr).not.toMatch(/\n\s+at /)
      expect(ended.code).toBe(code)
    },
  )

  it('names the packs that there are when a rule pack is unknown', async () => {
    const ended = await docmesh('analyze', file('fine.md', '# Fine\n\nText.'), '--rules', 'no.such.pack')
    expect(ended).toMatchObject({ code: 2, stderr: expect.stringMatching(/no\.such\.pack.*core\.contract/s) })
  })

  it('says that an id is unknown', async () => {
    const ended = await docmesh('documents', 'get', '00000000-0000-7000-8000-000000000000')
    expect(ended).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('00000000-0000-7000-8000-000000000000'),
    })
  })

  it('leaves every service up, nothing of the refused documents, and a clear state of the unreadable ones', async () => {
    for (const service of ['registry', 'document', 'analysis', 'notification'] as const) {
      const { adminAddress, process: child } = fleet.one(service)
      expect(child.exitCode).toBeNull()
      expect((await fetch(`http://${adminAddress}/livez`)).status).toBe(200)
    }
    await using db = await openPostgres({ url: fleet.databaseUrl, schema: 'document', poolMax: 1 })
    const stored = await db.query<{ name: string; extraction_failure: string | null }>(
      'select name, extraction_failure from documents join versions on document_id = id order by name',
    )
    expect(stored.map(({ name, extraction_failure }) => [name, extraction_failure])).toEqual([
      ['bomb.docx', 'inflation_limit'],
      ['doctype.docx', 'damaged'],
      ['encrypted.pdf', 'encrypted'],
      ['fine.md', null],
      ['scan.pdf', 'no_text'],
      ['truncated.pdf', 'damaged'],
    ])
    expect((await docmesh('analyze', file('good.md', fixture('sample-contract.md')))).code).toBe(0)
  })
})
