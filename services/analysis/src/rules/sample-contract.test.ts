import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { assess } from './assess.ts'
import { loadPacks } from './pack.ts'
import { sampleDocument } from './sample-text.ts'

const packs = await loadPacks(fileURLToPath(new URL('../../packs', import.meta.url)))
const sample = async (extension: string, charset: string): Promise<string> => {
  const url = new URL(`../../../document/fixtures/sample-contract.${extension}`, import.meta.url)
  return new TextDecoder(charset).decode(await readFile(url))
}

/** What the sample contract is known to have wrong, and the rule that says so. */
const DEFECTS: readonly (readonly [string, string, string | undefined])[] = [
  ['no clause of jurisdiction', 'CON-012', undefined],
  ['no signature block', 'CON-015', undefined],
  ['a placeholder as address', 'DOC-002', '[PREENCHER]'],
  ['a placeholder as process number', 'DOC-001', 'XXXX'],
  ['wrong check digits', 'DOC-013', '12.345.678/0001-99'],
  ['two terms', 'CON-020', '24 (vinte e quatro) meses'],
  ['instalments that do not add up', 'CON-018', 'R$ 30.000,00'],
  ['a repealed law', 'CON-024', '8.666/1993'],
  ['a day that does not exist', 'DOC-011', '31/02/2026'],
  ['personal data without the law', 'CON-025', 'dados pessoais'],
]

it.each([
  ['md', 'utf-8'],
  ['txt', 'windows-1252'],
])('core.contract finds every defect of the sample contract as %s', async (extension, charset) => {
  const pack = packs.get('core.contract')
  if (!pack) throw new Error('the pack is shipped')
  const document = sampleDocument(await sample(extension, charset))
  const { findings } = await assess([pack], document, { locale: 'pt-BR', today: '2026-08-01' })
  const missed = DEFECTS.filter(
    ([, rule, quote]) =>
      !findings.some(
        ({ ruleId, evidence }) =>
          ruleId === rule &&
          (quote === undefined || evidence.some((each) => each.quote.replaceAll('\n', ' ').includes(quote))),
      ),
  )
  expect(missed).toEqual([])
})
