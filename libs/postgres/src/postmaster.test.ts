import { expect, it } from 'vitest'
import { parsePostmasterPid } from './postmaster.ts'

const lines = (status: string) =>
  `4711\n/var/lib/pg/data\n1790000000\n5433\n\n127.0.0.1\n   123456         7\n${status}\n`

it('reads pid, port and state of a server from postmaster.pid', () => {
  expect(parsePostmasterPid(lines('ready   '))).toEqual({ pid: 4711, port: 5433, ready: true })
  expect(parsePostmasterPid(lines('starting'))).toEqual({ pid: 4711, port: 5433, ready: false })
})

it('does not take a half-written or damaged file for a server', () => {
  expect(parsePostmasterPid('')).toBeUndefined()
  expect(parsePostmasterPid('4711\n')).toBeUndefined()
  expect(parsePostmasterPid('-1\n/x\n0\n5432\n')).toBeUndefined()
})
