import { z } from 'zod'
import { foldText } from '../fold.ts'
import { parseClauseNumber } from '../number-words.ts'
import { lowerBound } from '../reading.ts'
import { assessed, defineKind, type Hit, type RuleContext } from './kind.ts'

type Check = (context: RuleContext) => readonly Hit[]

const emptySections: Check = ({ reading }) =>
  reading
    .outline()
    .sections.filter(({ body, marked }) => marked && reading.wordCount(body) === 0)
    .map(({ titleSpan, title }) => ({ spans: [titleSpan], confidence: 0.95, values: { found: title } }))

/** Twice the same title under the same parent. */
const duplicateHeadings: Check = ({ reading }) => {
  const seen = new Map<string, string>()
  const path: string[] = []
  return reading.outline().sections.flatMap(({ titleSpan, title, level, foldedTitle, marked }): Hit[] => {
    path.length = Math.min(path.length, level - 1)
    path[level - 1] = foldedTitle
    const place = path.join('\n')
    const first = seen.get(place)
    seen.set(place, title)
    const duplicate = marked && first !== undefined && foldedTitle.length > 2
    return duplicate ? [{ spans: [titleSpan], confidence: 0.9, values: { found: title } }] : []
  })
}

const headingJumps: Check = ({ reading }) => {
  const marked = reading.outline().sections.filter((section) => section.marked)
  return marked.flatMap(({ titleSpan, title, level }, index): Hit[] => {
    const before = marked[index - 1]
    return before !== undefined && level > before.level + 1
      ? [{ spans: [titleSpan], confidence: 0.9, values: { found: title } }]
      : []
  })
}

const missingTitle: Check = ({ reading }) => {
  const { properties, pages, text } = reading.document
  const firstPageEnd = pages[0]?.end ?? text.length
  const titled =
    foldText(properties.title ?? '').length > 0 ||
    reading.outline().sections.some(({ titleSpan, marked }) => marked && titleSpan.start < firstPageEnd)
  return titled ? [] : [{ spans: [], key: 'title', confidence: 0.9, values: { found: '' } }]
}

const REFERENCE =
  /(?<![\p{L}])(?<what>cl[áa]usulas?|clauses?|se[çc][ãa]o|sections?|itens|item)\s(?:n[º°.]\s?)?(?<number>\d{1,3}(?:\.\d{1,3}){0,4}|[\p{L}]+(?:\s[\p{L}]+)?)[ªº°]?/giu
const OUTSIDE =
  /^[^.;\n]{0,40}(?<![\p{L}])(?:lei|código|codigo|decreto|edital|(?<!deste |presente )contrato|act|code|regulation|law|directive|agreement dated)(?![\p{L}])/iu

/** "cláusula 14" where no clause 14 exists; documents without numbers, and other laws, are left alone. */
const brokenReferences: Check = ({ reading }) => {
  const { numbers, sections } = reading.outline()
  if (numbers.size === 0) return []
  const { text } = reading.document
  const titleStarts = sections.map(({ titleSpan }) => titleSpan.start)
  return [...text.matchAll(REFERENCE)].flatMap((match): Hit[] => {
    const written = match.groups?.number ?? ''
    const words = [written, written.split(/\s/)[0] ?? '']
    const read = words.find((word) => parseClauseNumber(word) !== undefined)
    if (read === undefined) return []
    const number = parseClauseNumber(read) ?? ''
    const end = match.index + match[0].lastIndexOf(written) + read.length
    const span = { start: match.index, end }
    const title = sections[lowerBound(titleStarts, span.start + 1) - 1]?.titleSpan
    const inTitle = title !== undefined && span.start < title.end
    if (numbers.has(number) || inTitle) return []
    if (OUTSIDE.test(text.slice(span.end, span.end + 80))) return []
    return [{ spans: [span], confidence: 0.8, values: { found: text.slice(span.start, span.end) } }]
  })
}

const CHECKS = {
  'empty-section': emptySections,
  'duplicate-heading': duplicateHeadings,
  'heading-jump': headingJumps,
  'missing-title': missingTitle,
  'broken-reference': brokenReferences,
} satisfies Record<string, Check>

const names = Object.keys(CHECKS) as (keyof typeof CHECKS)[]

export const structure = defineKind({
  name: 'structure',
  shape: {
    structure: z.strictObject({ check: z.enum(names, `write one of ${names.join(', ')}`) }),
  },
  values: ['found'],
  prepare: ({ structure: { check } }) => ({
    terms: [],
    run: (context) => assessed(CHECKS[check](context)),
  }),
})
