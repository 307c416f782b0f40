import { expect, it } from 'vitest'
import { sampleDocument } from './sample-text.ts'
import { outline } from './sections.ts'

const titles = (text: string) => outline(sampleDocument(text)).sections.map(({ title }) => title)

it('ends a section at the next heading of its level or above', () => {
  const document = sampleDocument('# A\n\nUm.\n\n## B\n\nDois.\n\n# C\n\nTrês.')
  const bodies = outline(document).sections.map(({ body }) =>
    document.text.slice(body.start, body.end).trim(),
  )
  expect(bodies).toEqual(['Um.\n\nB\n\nDois.', 'Dois.', 'Três.'])
})

it('reads clause lines as headings where the file marks none', () => {
  const text =
    'CLÁUSULA PRIMEIRA – DO OBJETO: O contrato trata de limpeza.\n\nCláusula 2ª. Do preço\n\n3. PRAZO'
  expect(titles(text)).toEqual(['CLÁUSULA PRIMEIRA – DO OBJETO', 'Cláusula 2ª. Do preço', '3. PRAZO'])
})

it('does not read sentences as headings', () => {
  expect(
    titles('Cláusula penal de dez por cento.\n\n30 dias depois da entrega\n\n1. Isto é uma frase. E outra.'),
  ).toEqual([])
})

it('collects the numbers that clauses and paragraphs carry', () => {
  const text = 'CLÁUSULA DÉCIMA QUARTA – FORO\n\n14.1 Fica eleito o foro de Recife.\n\n## 15. Lei'
  expect([...outline(sampleDocument(text)).numbers]).toEqual(['14', '14.1', '15'])
})

it('reads a document without blocks line by line', () => {
  const text = 'CLÁUSULA 1 - OBJETO\nLimpeza.\nCLÁUSULA 2 - PREÇO\nR$ 10,00.'
  const document = { ...sampleDocument(''), text }
  expect(outline(document).sections.map(({ number }) => number)).toEqual(['1', '2'])
})
