import { expect, it } from 'vitest'
import { pendingMigrations } from './migrate.ts'

const file = (id: number, sha256 = `hash${id}`) => ({ id, name: `000${id}_x.sql`, sql: '', sha256 })

it('returns the files that are not applied yet, in order', () => {
  expect(pendingMigrations([file(1), file(2), file(3)], [file(1)])).toEqual([file(2), file(3)])
})

it('leaves alone what a newer release has applied', () => {
  expect(pendingMigrations([file(1)], [file(1), file(2)])).toEqual([])
})

it('says what to do when an applied file was changed', () => {
  expect(() => pendingMigrations([file(1, 'other')], [file(1)])).toThrow(
    '0001_x.sql was changed after it was applied (as 0001_x.sql): restore the file',
  )
})

it('refuses a file that comes before one already applied', () => {
  expect(() => pendingMigrations([file(1), file(2)], [file(2)])).toThrow('give it the next number')
})
