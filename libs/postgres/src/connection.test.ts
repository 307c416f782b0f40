import { expect, it } from 'vitest'
import { assertSchemaName, describeServer } from './connection.ts'

it('names a server without user and password', () => {
  expect(describeServer('postgres://app:s3cret@db.example:6432/docmesh')).toBe(
    'PostgreSQL at db.example:6432/docmesh',
  )
  expect(describeServer('postgres://app:s3cret@db.example/docmesh')).toBe(
    'PostgreSQL at db.example:5432/docmesh',
  )
  expect(describeServer('s3cret, not a URL')).toBe('PostgreSQL')
})

it('accepts as a schema only what needs no quoting', () => {
  expect(() => assertSchemaName('document_2')).not.toThrow()
  for (const name of ['', 'Document', 'a-b', 'a; drop', '2a', 'x'.repeat(64)])
    expect(() => assertSchemaName(name)).toThrow(RangeError)
})
