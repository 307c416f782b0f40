import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Code } from './codes.ts'
import { pageFrom, readPage } from './paging.ts'

const anyKey = (): boolean => true

describe('pages', () => {
  it('concatenate to the whole, each full but the last', () => {
    const keys = fc.uniqueArray(fc.string({ minLength: 1, unit: 'grapheme' }), { maxLength: 40 })
    fc.assert(
      fc.property(keys, fc.integer({ min: 1, max: 10 }), (unsorted, pageSize) => {
        const all = unsorted.toSorted()
        const pages: (readonly string[])[] = []
        let pageToken = ''
        do {
          const { size, after } = readPage({ pageSize, pageToken }, anyKey)
          const found = all.filter((key) => after === '' || key > after).slice(0, size + 1)
          const page = pageFrom(found, size, (key) => key)
          pages.push(page.items)
          pageToken = page.nextPageToken
        } while (pageToken !== '')
        expect(pages.flat()).toEqual(all)
        expect(pages.slice(0, -1).every(({ length }) => length === pageSize)).toBe(true)
        expect(pages).toHaveLength(Math.max(1, Math.ceil(all.length / pageSize)))
      }),
    )
  })
})

describe('readPage', () => {
  it('takes page size 0 as the default', () => {
    expect(readPage({ pageSize: 0, pageToken: '' }, anyKey)).toEqual({ size: 50, after: '' })
    expect(readPage({ pageSize: 0, pageToken: '' }, anyKey, 7)).toEqual({ size: 7, after: '' })
  })

  it.each([-1, 1_001])('refuses page size %d and names the field', (pageSize) => {
    expect(() => readPage({ pageSize, pageToken: '' }, anyKey)).toThrow(
      expect.objectContaining({
        code: Code.INVALID_ARGUMENT,
        options: { fields: [{ field: 'page_size', description: 'write 0 to 1000' }] },
      }),
    )
  })

  it.each(['*', 'YQ==', 'Y', '_w'])('refuses the page token %j, which it never gave', (pageToken) => {
    expect(() => readPage({ pageSize: 1, pageToken }, anyKey)).toThrow(
      expect.objectContaining({ reason: 'INVALID_PAGE_TOKEN' }),
    )
  })

  it('refuses a page token whose key is not one of the list', () => {
    const pageToken = Buffer.from('1; drop table').toString('base64url')
    expect(() => readPage({ pageSize: 1, pageToken }, (key) => /^\d+$/.test(key))).toThrow(
      expect.objectContaining({ reason: 'INVALID_PAGE_TOKEN' }),
    )
  })
})
