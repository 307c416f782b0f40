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

const ROW = /[^\n]+/g
const TOTAL_ROW = /^\s*(?:valor\s|pre[çc]o\s|grand\s)?total(?!\p{L})/iu
/** What is taken off, or summed up already, makes a sum of the rows mean nothing. */
const NO_ITEM =
  /^\s*sub-?total|desconto|dedu[çc]|abatimento|discount|less(?!\p{L})|[-−–(]\s?(?:R\$|US\$|\$|€|£)/iu

/** Rows that end with an amount, one under the other, and then a row "Total": the rows must give it. */
const rowsDiffer = ({ reading }: RuleContext): readonly Hit[] => {
  const amounts = reading.money()
  const ends = amounts.map(({ end }) => end)
  const hits: Hit[] = []
  let items: MoneyValue[] = []
  let summable = true
  for (const { 0: row, index } of reading.document.text.matchAll(ROW)) {
    const end = index + row.trimEnd().length
    const amount = amounts[lowerBound(ends, end)]
    if (amount?.end !== end || amount.start < index) {
      items = []
      summable = true
      continue
    }
    if (!TOTAL_ROW.test(row)) {
      items.push(amount)
      summable &&= !NO_ITEM.test(row) && amount.currency === items[0]?.currency
      continue
    }
    const sum = items.reduce((all, { cents }) => all + cents, 0)
    const comparable = summable && items.length > 1 && items[0]?.currency === amount.currency
    if (comparable && Math.abs(sum - amount.cents) > items.length) {
      const values = {
        total: formatMoney(amount.cents, amount.currency),
        sum: formatMoney(sum, amount.currency),
        difference: formatMoney(Math.abs(amount.cents - sum), amount.currency),
      }
      hits.push({ spans: [{ start: index, end }, ...items], confidence: 0.8, values })
    }
    items = []
    summable = true
  }
  return hits
}

/**
 * `words`: figures against words in brackets. `instalments`: total against instalments, a cent each of rounding, said in
 * a sentence or listed row by row.
 */
export const moneyTotal = defineKind({
  name: 'money-total',
  shape: {
    money: z.strictObject({ check: z.enum(['words', 'instalments'], 'write words or instalments') }),
  },
  values: ['total', 'sum', 'difference'],
  prepare: ({ money: { check } }) => ({
    terms: [],
    run: (context) =>
      assessed(check === 'words' ? wordsDiffer(context) : [...sumDiffers(context), ...rowsDiffer(context)]),
  }),
})
