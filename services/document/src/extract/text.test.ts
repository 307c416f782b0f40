import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { extractAs, extractFixture, outline, problems } from '../../fixtures/checks.ts'
import { headingLevel } from './text.ts'

describe('the sample contract', async () => {
  const extracted = await extractFixture('sample-contract.txt')

  test('is sound, decoded and cut into pages at the form feed', () => {
    expect(problems(extracted)).toEqual([])
    expect(extracted.properties.charset).toBe('windows-1252')
    expect(extracted.pages).toHaveLength(2)
    expect(extracted.text.slice(extracted.pages[1]?.start)).toMatch(/^CLÁUSULA QUINTA – DAS OBRIGAÇÕES/)
  })

  test('has headings, list items and paragraphs', () => {
    const blocks = outline(extracted)
    expect(blocks).toContainEqual(['heading1', 'CLÁUSULA SÉTIMA – DAS PENALIDADES'])
    expect(blocks).toContainEqual(['list_item', '- suporte técnico em dias úteis, das 8h às 18h.'])
    expect(blocks).toContainEqual(['paragraph', '1.2. Os serviços compreendem:'])
  })
})

describe('a heading', () => {
  test.each([
    ['1. DO OBJETO', 1],
    ['2.1 Do prazo de entrega', 2],
    ['3.2.1. Garantia', 3],
    ['CLÁUSULA PRIMEIRA – DO PREÇO', 1],
    ['Cláusula 2ª - Do prazo', 1],
    ['ANEXO I', 1],
    ['DISPOSIÇÕES FINAIS', 1],
  ])('is %s, level %i', (line, level) => expect(headingLevel(line)).toBe(level))

  test.each([
    '1.2. Os serviços compreendem:',
    'CNPJ 12.345.678/0001-99',
    'R$ 120.000,00',
    '10 dias úteis contados da assinatura',
    'Cláusula que for violada sujeita a parte infratora a multa, sem prejuízo das perdas e danos que houver.',
    'Este é um parágrafo.',
    'SP',
  ])('is not %s', (line) => expect(headingLevel(line)).toBeUndefined())
})

test('any text gives sound offsets', async () => {
  const unit = fc.constantFrom('a', 'Ç', ' ', '\n', '\n\n', '\f', '\r\n', '- ', '1. ', '\u0301', 'TÍTULO')
  await fc.assert(
    fc.asyncProperty(fc.string({ unit, maxLength: 60 }), async (content) => {
      expect(problems(await extractAs('a.txt', `x${content}`))).toEqual([])
    }),
  )
})

test('fails as too large or with too many pages', async () => {
  await expect(extractAs('a.txt', 'x'.repeat(11), { maxTextChars: 10 })).rejects.toMatchObject({
    failure: 'too_large',
  })
  await expect(extractAs('a.txt', 'x'.repeat(11), { maxBytes: 10 })).rejects.toMatchObject({
    failure: 'too_large',
  })
  await expect(extractAs('a.txt', 'a\fb\fc', { maxPages: 2 })).rejects.toMatchObject({
    failure: 'too_many_pages',
  })
})
