import { deflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { extractAs, extractFixture, outline, problems } from '../../fixtures/checks.ts'
import { contract } from '../../fixtures/contract.ts'
import { rawPdf } from '../../fixtures/pdf.ts'
import { readPdfObjects } from './pdf-objects.ts'

/** A page of Helvetica whose content is given, with further entries of the catalog. */
function onePage(content: string, { catalog = '', page = '' } = {}): Buffer {
  return rawPdf([
    `<< /Type /Catalog /Pages 2 0 R ${catalog} >>`,
    '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
    `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> ${page} >>`,
    `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
    '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>',
  ])
}

const say = (text: string, x: number, y: number, size = 12) =>
  `BT /F ${size} Tf ${x} ${y} Td (${text}) Tj ET\n`
const texts = async (pdf: Buffer) => outline(await extractAs('a.pdf', pdf)).map(([, text]) => text)

describe('the sample contract', async () => {
  const extracted = await extractFixture('sample-contract.pdf')
  const blocks = outline(extracted)

  test('is sound', () => expect(problems(extracted)).toEqual([]))

  test('has every clause of the source, its lines joined', () => {
    const paragraphs = contract.flatMap((part) => (part.kind === 'paragraph' ? [part.text] : []))
    const found = paragraphs.filter((text) => extracted.text.includes(text))
    // One paragraph goes over the page.
    expect(found).toHaveLength(paragraphs.length - 1)
  })

  test('has headings by size', () => {
    expect(blocks).toContainEqual(['heading1', 'CONTRATO DE PRESTAÇÃO DE SERVIÇOS'])
    expect(blocks.filter(([kind]) => kind === 'heading2').map(([, text]) => text.split(' – ')[0])).toEqual([
      'CLÁUSULA PRIMEIRA',
      'CLÁUSULA SEGUNDA',
      'CLÁUSULA TERCEIRA',
      'CLÁUSULA QUARTA',
      'CLÁUSULA QUINTA',
      'CLÁUSULA SEXTA',
      'CLÁUSULA SÉTIMA',
      'CLÁUSULA OITAVA',
    ])
  })

  test('has running headers and footers told apart on both pages', () => {
    expect(blocks.filter(([kind]) => kind === 'header')).toHaveLength(2)
    expect(blocks.at(-1)).toEqual(['footer', 'Aurora Sistemas de Informação Ltda. – Página 2'])
  })

  test('has table rows, with an empty cell where the column is empty', () => {
    expect(blocks).toContainEqual(['table_row', '2ª parcela\t30/06/2026\tR$ 40.000,00'])
    expect(blocks).toContainEqual(['table_row', 'Total\t\tR$ 120.000,00'])
  })

  test('has boxes from the top left within the page', () => {
    const title = extracted.blocks.find(({ kind }) => kind === 'heading')
    expect(title?.box).toMatchObject({ x: 72, height: expect.closeTo(19, 0) })
    expect(title?.box?.y).toBeCloseTo(72.6, 0)
    expect(extracted.pages.map(({ width, height }) => [width, height])).toEqual([
      [595, 842],
      [595, 842],
    ])
  })
})

describe('a document with active content', async () => {
  const extracted = await extractFixture('javascript.pdf')

  test('has in its text what shows, form values included', () => {
    expect(outline(extracted).map(([, text]) => text)).toEqual([
      'Documento com conteúdo ativo',
      'Branco sobre azul',
      'Maria',
    ])
  })

  test.each([
    ['javascript', /inicio: app\.alert/],
    ['open_action', /JavaScript/],
    ['embedded_file', /planilha\.csv/],
    ['signature', /not signed/],
    ['form_field', /nome = Maria/],
    ['external_reference', /https:\/\/example\.com\/termos/],
    ['hidden_text', /white.*: instrução em branco$/],
    ['hidden_text', /invisible.*: texto invisível$/],
    ['hidden_text', /tiny.*: texto minúsculo$/],
  ])('raises %s', (kind, detail) => {
    expect(
      extracted.signals.filter((signal) => signal.kind === kind && detail.test(signal.detail)),
    ).toHaveLength(1)
  })
})

describe('fails', () => {
  test.each([
    ['encrypted.pdf', 'encrypted'],
    ['truncated.pdf', 'damaged'],
    ['scan-only.pdf', 'no_text'],
  ])('%s as %s', async (name, failure) => {
    await expect(extractFixture(name)).rejects.toMatchObject({ failure })
  })

  test('a scan with advice to send a searchable copy', async () => {
    await expect(extractFixture('scan-only.pdf')).rejects.toThrow(/OCR.*searchable copy/)
  })

  test('a header without a document as damaged', async () => {
    await expect(extractAs('a.pdf', '%PDF-1.7\nnothing')).rejects.toMatchObject({ failure: 'damaged' })
  })

  test('a document over the limits', async () => {
    await expect(extractFixture('sample-contract.pdf', { maxPages: 1 })).rejects.toMatchObject({
      failure: 'too_many_pages',
    })
    await expect(extractFixture('sample-contract.pdf', { maxTextChars: 99 })).rejects.toMatchObject({
      failure: 'too_large',
    })
  })
})

describe('layout', () => {
  const column = (x: number, name: string) =>
    Array.from({ length: 6 }, (_, index) =>
      say(`${name} linha ${index} com palavras`, x, 700 - index * 14),
    ).join('')

  test('columns are read one after the other', async () => {
    const [left = '', right = ''] = await texts(onePage(column(50, 'esquerda') + column(320, 'direita')))
    expect(left).toMatch(/^esquerda linha 0.*esquerda linha 5/)
    expect(right).toMatch(/^direita linha 0.*direita linha 5/)
  })

  test('text drawn from the bottom up is read from the top down', async () => {
    const lines = ['terceiro', 'segundo', 'primeiro'].map((text, index) => say(text, 50, 500 + index * 60))
    expect(await texts(onePage(lines.join('')))).toEqual(['primeiro', 'segundo', 'terceiro'])
  })

  test('words split at a line end are joined, enclitics keep their hyphen', async () => {
    const lines = ['o contrato ser\\341 pror-', 'rogado, e deve-', 'se publicar o aviso']
    const content = lines.map((line, index) => say(line, 50, 700 - index * 14)).join('')
    expect(await texts(onePage(content))).toEqual(['o contrato será prorrogado, e deve-se publicar o aviso'])
  })

  test('a page number is a footer, also on the only page', async () => {
    const pdf = onePage(say('Primeiro texto', 50, 700) + say('1', 300, 30))
    expect(outline(await extractAs('a.pdf', pdf))).toEqual([
      ['paragraph', 'Primeiro texto'],
      ['footer', '1'],
    ])
  })

  test('a bullet in a larger font does not make its line a heading', async () => {
    const item = 'BT /F 18 Tf 50 700 Td (-) Tj /F 12 Tf 14 0 Td (item de uma lista) Tj ET\n'
    const pdf = onePage(item + say('um texto mais longo do que o item da lista', 50, 650))
    expect(outline(await extractAs('a.pdf', pdf))[0]).toEqual(['list_item', '- item de uma lista'])
  })

  test('a rotated page has boxes as it shows', async () => {
    const { blocks, pages } = await extractAs(
      'a.pdf',
      onePage(say('girado', 100, 700), { page: '/Rotate 90' }),
    )
    expect(pages[0]).toMatchObject({ width: 800, height: 600 })
    expect(blocks[0]?.box?.x).toBeCloseTo(700, -1)
    expect(blocks[0]?.box?.y).toBeCloseTo(100, -1)
  })

  test('the language of the catalog is a property', async () => {
    const { properties } = await extractAs(
      'a.pdf',
      onePage(say('texto', 50, 700), { catalog: '/Lang (pt-BR)' }),
    )
    expect(properties.language).toBe('pt-BR')
  })

  test('text off the page is hidden', async () => {
    const { text, signals } = await extractAs(
      'a.pdf',
      onePage(say('dentro', 50, 700) + say('fora', 700, 700)),
    )
    expect(text).toBe('dentro')
    expect(signals).toEqual([
      { kind: 'hidden_text', detail: 'Text that does not show (off the page): fora', page: 1 },
    ])
  })
})

describe('objects', () => {
  const objects = (source: string) => readPdfObjects(Buffer.from(source, 'latin1'))

  test('names are found however they are escaped', () => {
    expect(objects('<< /S /J#61vaScr#69pt >>').has('JavaScript')).toBe(true)
    expect(objects('<< /JavaScripts 1 >>').has('JavaScript')).toBe(false)
  })

  test('names are found inside object streams', () => {
    const body = deflateSync('7 0 8 10 << /A 1 >><< /S /JavaScript >>').toString('latin1')
    const source = `5 0 obj << /Type /ObjStm /N 2 /First 9 /Filter /FlateDecode >>\nstream\n${body}\nendstream\n1 0 obj << /OpenAction 8 0 R >>`
    expect(objects(source).openAction()).toBe('JavaScript')
  })

  test.each([
    ['/OpenAction [3 0 R /Fit]', undefined],
    ['/OpenAction << /S /GoTo /D [3 0 R] >>', undefined],
    ['/OpenAction << /S /Launch /F (a.exe) >>', 'Launch'],
    ['/OpenAction 9 0 R 9 0 obj [3 0 R /Fit] endobj', undefined],
    ['/OpenAction 9 0 R', 'unknown'],
    ['/Type /Catalog', undefined],
  ])('%s opens with %s', (source, action) => expect(objects(source).openAction()).toBe(action))
})
