import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { journalFolder, openBatchJournal } from './journal.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'docmesh-journal-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const A = { path: '/a.txt', sha256: 'aa', documentId: 'd-1' }
const B = { path: '/b.txt', sha256: 'bb', documentId: 'd-2' }

it('gives the same command what it had done, and another command nothing', () => {
  const first = openBatchJournal(folder, ['a'])
  first.addRefused({ path: B.path, reason: 'empty', exitCode: 3 })
  first.addUpload(A)
  first.addUpload(B)
  first.addRefused({ path: '/c.bin', reason: 'no document', exitCode: 3 })
  first.setBatch('b-1')
  const again = openBatchJournal(folder, ['a'])
  expect(again.requestId).toBe(first.requestId)
  expect([...again.uploads().values()]).toEqual([A, B])
  expect(again.refused()).toEqual([{ path: '/c.bin', reason: 'no document', exitCode: 3 }])
  expect(again.batchId()).toBe('b-1')
  const other = openBatchJournal(folder, ['b'])
  expect(other.requestId).not.toBe(first.requestId)
  expect(other.batchId()).toBeUndefined()
})

it('goes on after a line that was cut short', () => {
  const first = openBatchJournal(folder, ['a'])
  first.addUpload(A)
  appendFileSync(join(folder, readdirSync(folder)[0] ?? ''), '\n{"path":"/b.t')
  openBatchJournal(folder, ['a']).addUpload(B)
  expect([...openBatchJournal(folder, ['a']).uploads().values()]).toEqual([A, B])
})

it('begins anew once it was removed', () => {
  const first = openBatchJournal(folder, ['a'])
  first.addUpload(A)
  first.remove()
  expect(readdirSync(folder)).toEqual([])
  const next = openBatchJournal(folder, ['a'])
  expect(next.uploads().size).toBe(0)
  expect(next.requestId).not.toBe(first.requestId)
})

it('is nobody else’s to read', () => {
  const inner = join(folder, 'own')
  openBatchJournal(inner, ['a'])
  expect(statSync(inner).mode & 0o777).toBe(0o700)
  expect(statSync(join(inner, readdirSync(inner)[0] ?? '')).mode & 0o777).toBe(0o600)
})

it('is kept in the state folder of the user', () => {
  expect(journalFolder({ XDG_STATE_HOME: '/state', HOME: '/home/ana' })).toBe('/state/docmesh/batches')
  expect(journalFolder({ HOME: '/home/ana' })).toBe('/home/ana/.local/state/docmesh/batches')
  // The specification has relative paths ignored.
  expect(journalFolder({ XDG_STATE_HOME: 'state' })).toBe(join(homedir(), '.local/state/docmesh/batches'))
})
