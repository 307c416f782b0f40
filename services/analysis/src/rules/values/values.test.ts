import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { findDates } from './dates.ts'
import { findDurations, sameLength } from './durations.ts'
import { findIdentifiers, isCard, isCnpj, isCpf, isIban } from './identifiers.ts'
import { findMoney, formatMoney, parseCents } from './money.ts'

describe('dates', () => {
  it.each([
    ['31/12/2026', '2026-12-31'],
    ['1º de março de 2026', '2026-03-01'],
    ['5 de Setembro de 2026', '2026-09-05'],
    ['2026-07-01', '2026-07-01'],
    ['July 4, 2026', '2026-07-04'],
    ['4th of July 2026', '2026-07-04'],
    ['29.02.2028', '2028-02-29'],
  ])('reads %s', (text, iso) => {
    expect(findDates(`em ${text}.`, 'pt')).toEqual([{ start: 3, end: 3 + text.length, iso }])
  })

  it('has no day for a date that does not exist', () => {
    expect(findDates('31/02/2026', 'pt')).toEqual([{ start: 0, end: 10 }])
    expect(findDates('29/02/2027', 'pt')[0]?.iso).toBeUndefined()
  })

  it('takes month first in English only', () => {
    expect(findDates('12/31/2026', 'en')[0]?.iso).toBe('2026-12-31')
    expect(findDates('12/31/2026', 'pt')[0]?.iso).toBeUndefined()
    expect(findDates('31/12/2026', 'en')[0]?.iso).toBe('2026-12-31')
  })

  it('leaves other numbers alone', () => {
    expect(findDates('10/20/30/2026, 1.02.3.2026, 5 de junho, v1-2-2026-3', 'pt')).toEqual([])
  })
})

describe('money', () => {
  it.each([
    ['1.234,56', 123_456],
    ['1,234.56', 123_456],
    ['1.234', 123_400],
    ['12,5', 1_250],
    ['0,99', 99],
  ])('reads %s', (figures, cents) => {
    expect(parseCents(figures)).toBe(cents)
  })

  it('reads back what it formats', () => {
    fc.assert(
      fc.property(fc.nat(1e12), fc.constantFrom('BRL', 'USD', 'EUR'), (cents, currency) => {
        expect(findMoney(`${formatMoney(cents, currency)}.`)).toMatchObject([{ cents, currency }])
      }),
    )
  })

  it('writes reais as R$ 1.234,56', () => {
    expect(formatMoney(123_456, 'BRL')).toBe('R$ 1.234,56')
  })

  it('reads scale words and words in brackets', () => {
    expect(findMoney('R$ 2 milhões (dois milhões de reais)')).toEqual([
      {
        start: 0,
        end: 12,
        currency: 'BRL',
        cents: 200_000_000,
        words: { start: 12, end: 36, cents: 200_000_000 },
      },
    ])
  })
})

describe('durations', () => {
  it('reads Portuguese and English, with words and business days', () => {
    expect(findDurations('30 (trinta) dias úteis e 2 years ou 45 business days')).toMatchObject([
      { amount: 30, inWords: 30, businessDays: true, days: 30 },
      { amount: 2, days: 720, businessDays: false },
      { amount: 45, businessDays: true },
    ])
  })

  it('takes 12 months, 1 year and 365 days as the same length', () => {
    const [a, b, c, d] = findDurations('12 meses, 1 ano, 365 dias, 365 dias úteis')
    if (!a || !b || !c || !d) throw new Error('four durations were expected')
    expect([sameLength(a, b), sameLength(a, c), sameLength(c, d)]).toEqual([true, true, false])
  })
})

describe('identifiers', () => {
  it('knows valid CPF and CNPJ, with letters since July 2026', () => {
    expect(isCpf('529.982.247-25')).toBe(true)
    expect(isCpf('111.111.111-11')).toBe(false)
    expect(isCnpj('11.222.333/0001-81')).toBe(true)
    expect(isCnpj('12.ABC.345/01DE-35')).toBe(true)
    expect(isCnpj('12.ABC.345/01DE-53')).toBe(false)
  })

  it('knows valid IBAN and cards', () => {
    expect(isIban('DE89 3704 0044 0532 0130 00')).toBe(true)
    expect(isIban('DE88 3704 0044 0532 0130 00')).toBe(false)
    expect(isCard('4111 1111 1111 1111')).toBe(true)
    expect(isCard('4111 1111 1111 1112')).toBe(false)
  })

  it('notices any single digit of a CPF that changes', () => {
    const digits = '52998224725'
    fc.assert(
      fc.property(fc.nat(10), fc.integer({ min: 1, max: 9 }), (place, shift) => {
        const changed = (Number(digits[place]) + shift) % 10
        expect(isCpf(digits.slice(0, place) + changed + digits.slice(place + 1))).toBe(false)
      }),
    )
  })

  it('finds each type with its place', () => {
    const text = 'CPF 529.982.247-25, ana@exemplo.com.br, (81) 99876-5432, +44 20 7946 0958'
    const found = findIdentifiers(text).map(({ type, start, end }) => [type, text.slice(start, end)])
    expect(found).toEqual([
      ['cpf', '529.982.247-25'],
      ['email', 'ana@exemplo.com.br'],
      ['phone', '(81) 99876-5432'],
      ['phone', '+44 20 7946 0958'],
    ])
  })

  it('stays linear on a long run of address characters', () => {
    const started = performance.now()
    expect(findIdentifiers(`${'a.'.repeat(100_000)}@`)).toEqual([])
    expect(performance.now() - started).toBeLessThan(1_000)
  })
})
