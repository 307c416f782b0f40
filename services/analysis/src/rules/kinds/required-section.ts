import { z } from 'zod'
import { foldText } from '../fold.ts'
import type { Section } from '../sections.ts'
import { assessed, defineKind, type RuleContext, say, termList } from './kind.ts'

const PLACEHOLDERS = [
  'lorem ipsum',
  'a preencher',
  'a definir',
  'preencher aqui',
  'to be defined',
  'tbd',
  'insert here',
]

/** Levenshtein 1966, one row; similarity is 1 − distance / longer length. */
export const similarity = (a: string, b: string): number => {
  const row = Uint16Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    let diagonal = row[0] ?? 0
    row[0] = i
    for (let j = 1; j <= b.length; j++) {
      const above = row[j] ?? 0
      const changed = diagonal + (a.charCodeAt(i - 1) === b.charCodeAt(j - 1) ? 0 : 1)
      row[j] = Math.min(above + 1, (row[j - 1] ?? 0) + 1, changed)
      diagonal = above
    }
  }
  const longer = Math.max(a.length, b.length)
  return longer === 0 ? 1 : 1 - (row[b.length] ?? 0) / longer
}

const bareTitle = (section: Section): string =>
  section.foldedTitle
    .replace(/^(?:clausula|clause|secao|section|artigo|article)\s+\S+\s*[-:.]\s*/, '')
    .replace(/^[\d.]+\)?\s*-?\s*/, '')
    .replace(/^(?:do|da|dos|das|the|of)\s+/, '')

export const requiredSection = defineKind({
  name: 'required-section',
  shape: {
    section: z.strictObject({
      /** Words of the heading. */
      anyOf: termList,
      /** Phrases that open such a clause where it has no heading of its own. */
      orPhrases: termList.optional(),
      minWords: z.int().min(0).max(10_000).default(0),
      rejectPlaceholders: z.boolean().default(false),
      /** Similarity from which a misspelt heading still counts; 1 turns it off. */
      fuzzy: z.number().min(0.7).max(1).default(0.85),
    }),
  },
  values: ['problem', 'section'],
  prepare: ({ section: wanted }) => {
    const phrases = wanted.orPhrases ?? []
    const names = wanted.anyOf.map((name) => foldText(name).replace(/\*$/, ''))

    const misspelt = ({ reading }: RuleContext): Section[] => {
      const found = reading.outline().sections.filter((section) => {
        const title = bareTitle(section)
        return names.some((name) => {
          const near = Math.abs(title.length - name.length) <= (1 - wanted.fuzzy) * title.length
          return near && similarity(title, name) >= wanted.fuzzy
        })
      })
      return wanted.fuzzy < 1 ? found : []
    }

    const problem = (section: Section, { reading, hits, locale }: RuleContext): string | undefined => {
      const { start, end } = section.body
      const words = reading.wordCount(section.body)
      const within = (term: string) => hits.of(term).some((span) => span.start >= start && span.end <= end)
      if (wanted.rejectPlaceholders && PLACEHOLDERS.some(within)) {
        return say(locale, 'ainda tem texto a preencher', 'still has text to fill in')
      }
      if (words >= wanted.minWords) return undefined
      return say(
        locale,
        `tem só ${words} de ao menos ${wanted.minWords} palavras`,
        `has only ${words} of at least ${wanted.minWords} words`,
      )
    }

    return {
      terms: [...wanted.anyOf, ...phrases, ...(wanted.rejectPlaceholders ? PLACEHOLDERS : [])],
      run: (context) => {
        const name = names[0] ?? ''
        const exact = wanted.anyOf.flatMap((term) => context.hits.titled(term))
        const sections = exact.length > 0 ? exact : misspelt(context)
        if (sections.length === 0) {
          if (phrases.some((phrase) => context.hits.of(phrase).length > 0)) return assessed([])
          const missing = say(context.locale, 'não foi encontrada', 'was not found')
          return assessed([
            { spans: [], key: name, confidence: 0.9, values: { section: name, problem: missing } },
          ])
        }
        const problems = sections.map((section) => problem(section, context))
        const first = sections[0]
        if (first === undefined || problems.includes(undefined)) return assessed([])
        const values = { section: first.title, problem: problems[0] ?? '' }
        return assessed([{ spans: [first.titleSpan], confidence: 0.8, values }])
      },
    }
  },
})
