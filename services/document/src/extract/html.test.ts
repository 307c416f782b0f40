import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { extractAs, extractFixture, outline, problems } from '../../fixtures/checks.ts'

const html = (body: string) => extractAs('a.html', `<!doctype html><html lang="pt"><body>${body}`)
const signals = async (body: string) =>
  (await html(`x${body}`)).signals.map(({ kind, detail }) => `${kind}: ${detail}`)

describe('the sample contract', async () => {
  const extracted = await extractFixture('sample-contract.html')
  const blocks = outline(extracted)

  test('is sound and keeps its structure', () => {
    expect(problems(extracted)).toEqual([])
    expect(blocks[0]).toEqual(['header', 'Contrato nº 042/2026'])
    expect(blocks).toContainEqual(['heading2', 'CLÁUSULA OITAVA – DISPOSIÇÕES GERAIS'])
    expect(blocks).toContainEqual(['table_row', 'Total\t\tR$ 120.000,00'])
    expect(blocks).toContainEqual(['list_item1', 'suporte técnico em dias úteis, das 8h às 18h.'])
    expect(blocks.at(-1)).toEqual(['footer', 'Aurora Sistemas de Informação Ltda.'])
  })

  test('has its title and language as properties, and no script or style in the text', () => {
    expect(extracted.properties).toMatchObject({
      title: 'Contrato de prestação de serviços',
      language: 'pt-BR',
    })
    expect(extracted.text).not.toMatch(/document\.title|margin/)
  })

  test('quotes what is hidden in a signal', () => {
    expect(extracted.text).not.toContain('Rascunho')
    expect(extracted.signals).toContainEqual({
      kind: 'hidden_text',
      detail: 'Hidden element <p>: Rascunho: não divulgar este parágrafo.',
      page: 1,
    })
  })
})

describe('text', () => {
  test('joins inline elements and splits blocks', async () => {
    expect((await html('a <b>b</b>c<div>d<br>e</div>f')).text).toBe('a bc\n\nd\ne\n\nf')
  })

  test('numbers ordered lists as they show', async () => {
    const { text } = await html('<ol type="a" start="2"><li>x<li><p>y</p><p>z</p></ol>')
    expect(text).toBe('b. x\n\nc. y\n\nz')
  })

  test('keeps the lines of preformatted text', async () => {
    expect(outline(await html('<pre>a\n  b</pre><blockquote>q</blockquote>'))).toEqual([
      ['code', 'a\n  b'],
      ['quote', 'q'],
    ])
  })

  test('reads tables that arrange a page as plain blocks', async () => {
    const body = '<table><tr><td><h2>Preço</h2><table><tr><td>a<td>b</table><td>fim</table>'
    expect(outline(await html(body)).map(([kind]) => kind)).toEqual([
      'heading2',
      'table_row',
      'table_cell',
      'table_cell',
      'paragraph',
    ])
  })

  test('follows the charset the document declares', async () => {
    const bytes = Buffer.from('<html><meta charset="iso-8859-7"><p>\xe1\xe2\xe3', 'latin1')
    expect((await extractAs('a.html', bytes)).text).toBe('αβγ')
  })

  test('any markup gives sound offsets', async () => {
    const token = fc.constantFrom(
      '<p>',
      '</p>',
      '<table>',
      '<tr>',
      '<td>',
      '</table>',
      '<li>',
      '<ol>',
      '<pre>',
      '<h1>',
      '<b>',
      'á ',
      '\n',
      '<br>',
      '<div hidden>',
      '</div>',
      '<td></td>',
    )
    await fc.assert(
      fc.asyncProperty(fc.array(token, { maxLength: 30 }), async (tokens) => {
        expect(problems(await html(`x${tokens.join('')}`))).toEqual([])
      }),
    )
  })
})

describe('signals', () => {
  test.each([
    ['<p style="color:red; display : none">k</p>', 'hidden_text: Hidden element <p>: k'],
    ['<span style="font-size:0">k</span>', 'hidden_text: Hidden element <span>: k'],
    ['<p style="position:absolute;left:-9999px">k</p>', 'hidden_text: Hidden element <p>: k'],
    ['<b onclick="f()">k</b>', 'javascript: onclick of <b>: f()'],
    ['<a href=" javascript:f()">k</a>', 'javascript: href of <a>:  javascript:f()'.replace('  ', ' ')],
    ['<a href="https://example.com">k</a>', 'external_reference: hyperlink: https://example.com'],
    ['<img src="//example.com/t.gif">', 'external_reference: <img>: //example.com/t.gif'],
    ['<input name="cpf">', 'form_field: cpf'],
    ['<iframe src="data:text/html,x"></iframe>', 'embedded_file: <iframe> with its own data'],
    ['<!-- nota interna -->', 'comment: nota interna'],
  ])('%s raises %s', async (body, signal) => expect(await signals(body)).toContain(signal))

  test.each(['<p style="opacity:0.5">k', '<p style="font-size:0.9em">k', '<p style="left:-9px">k'])(
    '%s shows',
    async (body) => expect(await signals(body)).toEqual([]),
  )
})

test('fails without visible text, and when nested too deep', async () => {
  await expect(html('<p hidden>x</p>')).rejects.toMatchObject({ failure: 'empty' })
  await expect(html(`${'<div>'.repeat(600)}x`)).rejects.toMatchObject({ failure: 'damaged' })
  await expect(html(`<table><tr><td>${'<b><i>'.repeat(20_000)}x`)).rejects.toMatchObject({
    failure: 'damaged',
  })
})
