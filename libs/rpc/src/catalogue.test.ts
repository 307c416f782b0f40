import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ERROR_KINDS, ERRORS } from './catalogue.ts'
import { renderErrors } from './catalogue-doc.ts'

const doc = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8')

test('docs/errors.md has every reason of the catalogue and no other', () => {
  const documented = [...doc.matchAll(/^\| `(\w+)`/gm)].map(([, reason]) => reason)
  expect(documented).toEqual(Object.keys(ERRORS))
})

test('docs/errors.md is what the catalogue renders', () => {
  expect(doc, 'run: node libs/rpc/src/catalogue-doc.ts').toBe(renderErrors())
})

test('there are sixteen kinds of failure', () => {
  expect(Object.keys(ERROR_KINDS)).toHaveLength(16)
})

test.each(Object.entries(ERRORS))('%s tells in a sentence what to do', (reason, { help }) => {
  expect(reason).toMatch(/^[A-Z][A-Z_]+$/)
  expect(help).toMatch(/^\S.*\.$/)
  expect(help).not.toContain('|')
})
