import fc from 'fast-check'
import { expect, it } from 'vitest'
import { pageKeyOf, pageOf, pageSizeOf } from './page.ts'

const KEY = /^\d+$/

it('walks through any list to its end without a gap or a repeat', () => {
  fc.assert(
    fc.property(fc.nat(50), fc.integer({ min: 1, max: 20 }), (length, size) => {
      const all = Array.from({ length }, (_, index) => index)
      const seen: number[] = []
      let token = ''
      do {
        const key = pageKeyOf(token, KEY)
        const rest = all.slice(key === '' ? 0 : Number(key) + 1)
        const { page, nextPageToken } = pageOf(rest.slice(0, size + 1), size, String)
        seen.push(...page)
        token = nextPageToken
      } while (token !== '')
      expect(seen).toEqual(all)
    }),
  )
})

it('refuses tokens that it did not give', () => {
  const given = Buffer.from('12').toString('base64url')
  expect(pageKeyOf(given, KEY)).toBe('12')
  for (const token of [`${given}=`, 'x', '***', Buffer.from('1; drop table').toString('base64url')])
    expect(() => pageKeyOf(token, KEY)).toThrow(expect.objectContaining({ reason: 'INVALID_PAGE_TOKEN' }))
})

it('takes page sizes of 0 to 1,000, where 0 means 50', () => {
  expect([0, 1, 1_000].map(pageSizeOf)).toEqual([50, 1, 1_000])
  for (const size of [-1, 1_001])
    expect(() => pageSizeOf(size)).toThrow(expect.objectContaining({ reason: 'INVALID_REQUEST' }))
})
