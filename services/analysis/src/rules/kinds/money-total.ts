import { z } from 'zod'
import { lowerBound } from '../reading.ts'
import { formatMoney, type MoneyValue } from '../values/money.ts'
import { assessed, defineKind, type Hit, type RuleContext } from './kind.ts'

const INSTALMENTS =
  /(?<![\d.,])(?<count>\d{1,3})\s(?:\([\p{L}\s-]{2,40}\)\s)?(?:[\p{L}]{2,15}\s){0,3}?(?:parcelas|prestações|prestacoes|mensalidades|instal+ments|payments)(?:[\p{L},\s]{0,60}?)\s(?:de|of|no valor de)\s(?=R\$|US\$|\$|€|£|BRL|USD|EUR|GBP)/giu
const TOTAL = /(?:total|global|preço|preco|valor|price|fees?|sum)(?:[^.;]|\.(?=\d)){0,60}$/iu
const DOWN_PAYMENT = /(?:entrada|sinal|down payment|deposit|upfront)[^.;\d]{0,30}$/iu
const DOWN_PAYMENT_AFTER =
  /^(?:\s\([^)]{0,120}\))?\s(?:de entrada|de sinal|as a down payment|upfront|as a deposit)/iu
const REACH = 600

const wordsDiffer = ({ reading }: RuleContext): readonly Hit[] =>
  reading.money().flatMap(({ start, cents, currency, words }) => {
    if (words === undefined || words.cents === cents) return []
    const values = {
      total: formatMoney(cents, currency),
      sum: formatMoney(words.cents, currency),
      difference: formatMoney(Math.abs(cents - words.cents), currency),
    }
    return [{ spans: [{ start, end: words.end }], confidence: 0.95, values }]
  })

/** "total R$ 12.000,00, em 12 parcelas de R$ 1.000,00": count × amount (+ down payment) must give the total. */
const sumDiffers = ({ reading }: RuleContext): readonly Hit[] => {
  const { text } = reading.document
  const amounts = reading.money()
  const starts = amounts.map(({ start }) => start)
  const before = ({ start }: MoneyValue) => text.slice(Math.max(0, start - 70), start)
  const plans = [...text.matchAll(INSTALMENTS)].flatMap((match) => {
    const each = amounts[lowerBound(starts, match.index + match[0].length)]
    const count = Number(match.groups?.count)
    return each === undefined ? [] : [{ start: match.index, each, count }]
  })
  const used = new Set(plans.map(({ each }) => each))
  return plans.flatMap(({ start, each, count }) => {
    const earlier = amounts.slice(lowerBound(starts, start - REACH), lowerBound(starts, start))
    const near = earlier.filter(
      (amount) =>
        amount.currency === each.currency &&
        !used.has(amount) &&
        !text.slice(amount.end, start).includes('\n\n'),
    )
    const isDown = (amount: MoneyValue) =>
      DOWN_PAYMENT.test(before(amount)) || DOWN_PAYMENT_AFTER.test(text.slice(amount.end, amount.end + 160))
    const down = near.filter(isDown)
    const total = near.findLast((amount) => !down.includes(amount) && TOTAL.test(before(amount)))
    if (total === undefined) return []
    const sum = count * each.cents + down.reduce((paid, { cents }) => paid + cents, 0)
    if (Math.abs(sum - total.cents) <= count) return []
    const values = {
      total: formatMoney(total.cents, total.currency),
      sum: formatMoney(sum, total.currency),
      difference: formatMoney(Math.abs(total.cents - sum), total.currency),
    }
    return [{ spans: [total, { start, end: each.end }], confidence: 0.8, values }]
  })
}

/** `words`: figures against words in brackets. `instalments`: total against instalments, a cent each of rounding. */
export const moneyTotal = defineKind({
  name: 'money-total',
  shape: {
    money: z.strictObject({ check: z.enum(['words', 'instalments'], 'write words or instalments') }),
  },
  values: ['total', 'sum', 'difference'],
  prepare: ({ money: { check } }) => ({
    terms: [],
    run: (context) => assessed(check === 'words' ? wordsDiffer(context) : sumDiffers(context)),
  }),
})
