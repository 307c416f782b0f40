import { expect, test } from 'vitest'
import { extractAs, extractFixture, outline, problems } from '../../fixtures/checks.ts'

const markdown = (source: string) => extractAs('a.md', source)

test('the sample contract is sound and keeps its structure', async () => {
  const extracted = await extractFixture('sample-contract.md')
  const blocks = outline(extracted)
  expect(problems(extracted)).toEqual([])
  expect(extracted.mediaType).toBe('text/markdown')
  expect(blocks[0]).toEqual(['heading1', 'CONTRATO DE PRESTAÇÃO DE SERVIÇOS'])
  expect(blocks).toContainEqual(['table_row', '3ª parcela\t30/09/2026\tR$ 30.000,00'])
  expect(extracted.text).toContain('com sede em [PREENCHER], doravante')
})

test('front matter becomes properties', async () => {
  const { text, properties } = await markdown('---\ntitle: "Aviso: prazo"\nlang: pt\n---\n\n# Corpo')
  expect(text).toBe('Corpo')
  expect(properties).toMatchObject({ title: 'Aviso: prazo', lang: 'pt' })
})

test('marks of the syntax are not in the text', async () => {
  const source =
    'Um **forte** `x<y` [elo](https://example.com)\nlinha\\\nquebra\n\n> citação\n\n```sql\nselect 1\n  from t\n```\n\n3. três\n4. quatro'
  expect(outline(await markdown(source))).toEqual([
    ['paragraph', 'Um forte x<y elo linha\nquebra'],
    ['quote', 'citação'],
    ['code', 'select 1\n  from t'],
    ['list_item1', '3. três'],
    ['list_item1', '4. quatro'],
  ])
})

test('HTML that spans Markdown hides it as it would in a browser', async () => {
  const { text, signals } = await markdown(
    'antes\n\n<div style="display:none">\n\n**oculto**\n\n</div>\n\ndepois',
  )
  expect(text).toBe('antes\n\ndepois')
  expect(signals).toContainEqual({ kind: 'hidden_text', detail: 'Hidden element <div>: oculto', page: 1 })
})

test('nesting without end is damaged, not a crash', async () => {
  await expect(markdown(`${'>'.repeat(3_000)} x`)).rejects.toMatchObject({ failure: 'damaged' })
})
