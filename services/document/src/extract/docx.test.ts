import { describe, expect, test } from 'vitest'
import { extractAs, extractFixture, outline, problems } from '../../fixtures/checks.ts'
import { docx, wordNamespace } from '../../fixtures/docx.ts'
import { formatCount } from './count-format.ts'
import { createLabels } from './docx-labels.ts'
import type { ListLevel } from './docx-parts.ts'

const extractBody = (body: string) => extractAs('a.docx', docx({ body }))

describe('the sample contract', async () => {
  const extracted = await extractFixture('sample-contract.docx')
  const blocks = outline(extracted)

  test('is sound', () => expect(problems(extracted)).toEqual([]))

  test('has headings by style, with their levels', () => {
    expect(blocks).toContainEqual(['heading1', 'CONTRATO DE PRESTAÇÃO DE SERVIÇOS'])
    expect(blocks).toContainEqual(['heading2', 'CLÁUSULA PRIMEIRA – DO OBJETO'])
    expect(blocks.filter(([kind]) => kind === 'heading2')).toHaveLength(8)
  })

  test('shows the numbers Word generates for list items', () => {
    expect(blocks).toContainEqual(['list_item1', 'c) suporte técnico em dias úteis, das 8h às 18h.'])
  })

  test('keeps rows and cells', () => {
    expect(blocks).toContainEqual(['table_row', '1ª parcela\t31/02/2026\tR$ 40.000,00'])
    expect(blocks).toContainEqual(['table_cell', '31/02/2026'])
  })

  test('puts headers first and footers last', () => {
    expect(blocks[0]).toEqual(['header', 'Contrato nº 042/2026'])
    expect(blocks.at(-1)).toEqual(['footer', 'Aurora Sistemas de Informação Ltda.'])
    expect(extracted.properties).toMatchObject({ language: 'pt-BR' })
  })
})

describe('what does not show', async () => {
  const extracted = await extractFixture('marked-up.docx')
  const details = extracted.signals.map(({ kind, detail }) => `${kind}: ${detail}`)

  test('is sound and excludes deleted and hidden text', () => {
    expect(problems(extracted)).toEqual([])
    expect(extracted.text).toContain('Prazo novo\n\nVisível\n\n')
  })

  test.each([
    'tracked_change: Inserted by Ana: novo',
    'tracked_change: Deleted by Ana: antigo',
    'comment: Rui: confirmar',
    'hidden_text: Text set as hidden: texto oculto',
    'hidden_text: White or tiny text: texto branco',
    'external_reference: attachedTemplate: http://example.com/template.dotm',
    'external_reference: Field that loads or runs: INCLUDETEXT "http://example.com/a.docx"',
    'macro: Macros: word/vbaProject.bin',
    'embedded_file: word/embeddings/oleObject1.bin',
  ])('raises %s', (signal) => expect(details).toContain(signal))

  test('names the block a comment belongs to', () => {
    const comment = extracted.signals.find(({ kind }) => kind === 'comment')
    expect(extracted.text.slice(comment?.start, comment?.end)).toBe('Prazo novo')
  })

  test('counts a page break once when Word noted it too', () => {
    expect(extracted.pages.map(({ start, end }) => extracted.text.slice(start, end).trim())).toEqual([
      'Prazo novo\n\nVisível\n\ntexto branco\n\nCampo',
      'Segunda página\n\nNota de rodapé',
    ])
  })
})

describe('markup', () => {
  const paragraph = (text: string) => `<w:p><w:r><w:t>${text}</w:t></w:r></w:p>`

  test('is read whatever prefix the namespace has', async () => {
    const body = `<x:p xmlns:x="${wordNamespace}"><x:r><x:t>texto</x:t></x:r></x:p>`
    expect((await extractBody(body)).text).toBe('texto')
  })

  test('text boxes are read once, before the paragraph that holds them', async () => {
    const box = `<w:txbxContent>${paragraph('caixa')}</w:txbxContent>`
    const both = `<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><mc:Choice>${box}</mc:Choice><mc:Fallback>${box}</mc:Fallback></mc:AlternateContent>`
    const { text } = await extractBody(`<w:p><w:r>${both}<w:t>fora</w:t></w:r></w:p>`)
    expect(text).toBe('caixa\n\nfora')
  })

  test('a table inside a cell becomes text of the cell', async () => {
    const inner = `<w:tbl><w:tr><w:tc>${paragraph('b')}</w:tc><w:tc>${paragraph('c')}</w:tc></w:tr></w:tbl>`
    const { text } = await extractBody(
      `<w:tbl><w:tr><w:tc>${paragraph('a')}${inner}</w:tc><w:tc>${paragraph('d')}</w:tc></w:tr></w:tbl>`,
    )
    expect(text).toBe('a b c\td')
  })

  test('an outline level makes a heading', async () => {
    const body = '<w:p><w:pPr><w:outlineLvl w:val="2"/></w:pPr><w:r><w:t>Título</w:t></w:r></w:p>'
    expect(outline(await extractBody(body))).toEqual([['heading3', 'Título']])
  })

  test('white text on a shaded cell is not suspicious', async () => {
    const white = '<w:p><w:r><w:rPr><w:color w:val="FFFFFF"/></w:rPr><w:t>Valor</w:t></w:r></w:p>'
    const cell = `<w:tc><w:tcPr><w:shd w:fill="1F3864"/></w:tcPr>${white}</w:tc>`
    expect((await extractBody(`<w:tbl><w:tr>${cell}</w:tr></w:tbl>`)).signals).toEqual([])
  })
})

describe('fails', () => {
  test.each([
    ['bomb.docx', 'inflation_limit'],
    ['doctype.docx', 'damaged'],
  ])('%s as %s', async (name, failure) => {
    await expect(extractFixture(name)).rejects.toMatchObject({ failure })
  })

  test('deep nesting and bad form as damaged', async () => {
    await expect(extractBody('<w:sdt>'.repeat(300) + '</w:sdt>'.repeat(300))).rejects.toMatchObject({
      failure: 'damaged',
    })
    await expect(extractBody('<w:p>')).rejects.toMatchObject({ failure: 'damaged' })
  })

  test('a document without text as empty', async () => {
    await expect(extractBody('<w:p/>')).rejects.toMatchObject({ failure: 'empty' })
  })
})

describe('labels', () => {
  const level = (format: string, text: string, start = 1): ListLevel => ({ format, text, start })

  test('count per list, restart below and show upper levels', () => {
    const levels = new Map([
      [
        '0',
        new Map([
          [0, level('decimal', '%1.')],
          [1, level('lowerRoman', '%1.%2')],
        ]),
      ],
    ])
    const instances = new Map([
      ['1', { abstract: '0', restarts: new Map<number, number>() }],
      ['2', { abstract: '0', restarts: new Map([[0, 9]]) }],
    ])
    const label = createLabels({ levels, instances })
    const steps: [string, number][] = [
      ['1', 0],
      ['1', 1],
      ['1', 1],
      ['1', 0],
      ['1', 1],
      ['2', 0],
      ['2', 0],
    ]
    expect(steps.map(([id, depth]) => label(id, depth))).toEqual([
      '1.',
      '1.i',
      '1.ii',
      '2.',
      '2.i',
      '9.',
      '10.',
    ])
  })

  test.each([
    [4, 'upperRoman', 'IV'],
    [49, 'lowerRoman', 'xlix'],
    [27, 'lowerLetter', 'aa'],
    [3, 'decimalZero', '03'],
    [1, 'ordinal', '1º'],
    [5, 'cardinalText', '5'],
  ])('%i in %s is %s', (count, format, shown) => expect(formatCount(count, format)).toBe(shown))
})
