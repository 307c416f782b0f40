import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { docx } from '../../fixtures/docx.ts'
import { zip } from '../../fixtures/zip.ts'
import { decode } from './charset.ts'
import { detect } from './detect.ts'
import { docxMediaType } from './docx.ts'

const fixture = (name: string) => readFile(new URL(`../../fixtures/${name}`, import.meta.url))
const latin1 = (text: string) => Buffer.from(text, 'latin1')
const olePrefix = '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1'

describe('accepts', () => {
  test.each([
    ['sample-contract.pdf', 'application/pdf'],
    ['sample-contract.docx', docxMediaType],
    ['sample-contract.html', 'text/html'],
    ['sample-contract.md', 'text/markdown'],
    ['sample-contract.txt', 'text/plain'],
  ])('%s as %s', async (name, type) => {
    expect(await detect(await fixture(name), { fileName: name })).toBe(type)
  })

  test('binary content whatever the client says it is', async () => {
    const lie = { fileName: 'a.txt', mediaType: 'text/plain' }
    expect(await detect(await fixture('sample-contract.pdf'), lie)).toBe('application/pdf')
    expect(await detect(docx({ body: '' }), lie)).toBe(docxMediaType)
  })

  test('a PDF header after a line of junk', async () => {
    expect(await detect(latin1('junk\n%PDF-1.4\n'))).toBe('application/pdf')
  })

  test.each([
    ['<!-- c --><!DOCTYPE html><p>x', {}, 'text/html'],
    ['<p>x</p>', { mediaType: 'text/html; charset=utf-8' }, 'text/html'],
    ['<p>x</p>', {}, 'text/plain'],
    ['no tags', { fileName: 'a.html' }, 'text/plain'],
    ['# t', { mediaType: 'text/markdown' }, 'text/markdown'],
    ['BMW é uma marca', {}, 'text/plain'],
  ])('%s with %o as %s', async (content, hints, type) => {
    expect(await detect(Buffer.from(content), hints)).toBe(type)
  })

  test.each([
    ['', 'text/plain'],
    ['<html>', 'text/html'],
  ])('a text that begins with a thousand comments and %j, at once', async (end, type) => {
    const comments = '<!-- a --><!---->'.repeat(500)
    expect(await detect(Buffer.from(`${comments}${end}text`))).toBe(type)
  })

  test('a text with tens of thousands of tags that never end, at once', async () => {
    const begun = performance.now()
    expect(await detect(Buffer.from('<a'.repeat(32_768)), { mediaType: 'text/html' })).toBe('text/plain')
    expect(performance.now() - begun).toBeLessThan(500)
  })

  test('UTF-16 text with a byte order mark', async () => {
    expect(await detect(Buffer.from('\ufeffção', 'utf16le'))).toBe('text/plain')
  })
})

describe('refuses', () => {
  test.each([
    ['a PNG image', latin1('\x89PNG\r\n\x1a\n\0\0')],
    ['a JPEG image', latin1('\xff\xd8\xff\xe0\0')],
    ['an executable', latin1('\x7fELF\x02\0')],
    ['an executable', latin1('MZ\x90\0\x03\0')],
    ['an RTF document', latin1('{\\rtf1 text}')],
    ['an SVG image', latin1('<svg xmlns="x"></svg>')],
    ['an XML document', latin1('<?xml version="1.0"?><note/>')],
    ['binary data', Buffer.from([1, 2, 3, 0, 255])],
    ['a legacy Office document', latin1(`${olePrefix}\0\0`)],
    ['a spreadsheet', zip({ '[Content_Types].xml': '', 'xl/workbook.xml': '' })],
    ['an OpenDocument or EPUB file', zip({ mimetype: '' })],
    ['a ZIP archive', zip({ 'a.txt': '' })],
  ])('%s', async (what, bytes) => {
    const refusal = detect(bytes, { fileName: 'contract.pdf', mediaType: 'application/pdf' })
    await expect(refusal).rejects.toMatchObject({
      failure: 'unsupported_type',
      message: expect.stringContaining(what),
    })
  })

  test('an Office file under a password as encrypted', async () => {
    const bytes = Buffer.concat([latin1(olePrefix), Buffer.from('EncryptedPackage', 'utf16le')])
    await expect(detect(bytes)).rejects.toMatchObject({ failure: 'encrypted' })
  })

  test('a container cut short as damaged', async () => {
    const bytes = await fixture('sample-contract.docx')
    await expect(detect(bytes.subarray(0, 2000))).rejects.toMatchObject({ failure: 'damaged' })
  })

  test.each(['', ' \n\t\r\n', '\ufeff'])('%j as empty', async (content) => {
    await expect(detect(Buffer.from(content))).rejects.toMatchObject({ failure: 'empty' })
  })
})

describe('charset', () => {
  const sentence = 'A contratação será precedida de licitação; não há exceções às cláusulas.'

  test('short Portuguese text in one byte per letter is Windows-1252', () => {
    expect(decode(latin1(sentence))).toEqual({ text: sentence, charset: 'windows-1252' })
    expect(decode(latin1('pre\xe7o \x96 \x93x\x94')).text).toBe('preço – “x”')
  })

  test('a byte order mark wins over what is declared', () => {
    expect(decode(Buffer.from(`\ufeff${sentence}`, 'utf16le'), 'iso-8859-1').text).toBe(sentence)
  })

  test('other tables are recognised by their letters', () => {
    const russian = Buffer.from([
      0xc4, 0xee, 0xe3, 0xee, 0xe2, 0xee, 0xf0, 0x20, 0xed, 0xe0, 0x20, 0xee, 0xea, 0xe0, 0xe7, 0xe0, 0xed,
      0xe8, 0xe5, 0x20, 0xf3, 0xf1, 0xeb, 0xf3, 0xe3, 0x20, 0xe8, 0x20, 0xef, 0xee, 0xf1, 0xf2, 0xe0, 0xe2,
      0xea, 0xf3,
    ])
    expect(decode(russian).text).toBe('Договор на оказание услуг и поставку')
  })
})
