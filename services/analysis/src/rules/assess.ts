import { setImmediate } from 'node:timers/promises'
import type { DocumentText } from './document-text.ts'
import { type Finding, toFindings } from './findings.ts'
import {
  type Locale,
  type Localised,
  notApplicable,
  type Outcome,
  type RuleContext,
  skipped,
} from './kinds/kind.ts'
import type { Language } from './language.ts'
import type { CompiledPack, CompiledRule } from './pack.ts'
import { SEVERITIES } from './pack-schema.ts'
import { type Reading, readDocument } from './reading.ts'
import { type LedgerEntry, type RuleCount, scoreOf, type Verdict, verdictOf } from './score.ts'
import { findTerms } from './terms.ts'

export interface Coverage {
  readonly rulesRun: readonly string[]
  /** Could have applied but could not be assessed: the verdict is not `pass`. */
  readonly rulesSkipped: readonly { readonly ruleId: string; readonly reason: string }[]
  readonly rulesNotApplicable: readonly { readonly ruleId: string; readonly reason: string }[]
  readonly pages: number
  readonly pagesRead: number
  /** Blank, or an image nobody could read. */
  readonly pagesWithoutText: readonly number[]
  readonly words: number
  readonly language: Language
}

export interface Assessment {
  readonly findings: readonly Finding[]
  /** 0 to 100; null when nothing could be assessed. */
  readonly score: number | null
  readonly ledger: readonly LedgerEntry[]
  readonly verdict: Verdict
  readonly coverage: Coverage
}

export interface AssessOptions {
  readonly locale: Locale
  /** ISO date, for rules that compare with today and for the validity of packs. */
  readonly today: string
  readonly signal?: AbortSignal
  /** Monotonic milliseconds; default `performance.now`. */
  readonly now?: () => number
}

/** The event loop gets a turn when rules have run for this long. */
const SLICE_MS = 10
/** With a smaller share of readable pages the verdict is at most `incomplete`. */
const MIN_READ_SHARE = 0.5
const MAX_FINDINGS_PER_RULE = 200

const NO_TEXT: Localised = {
  'pt-BR': 'O documento não tem texto que se possa ler.',
  en: 'The document has no text that can be read.',
}
const OTHER_TYPE: Localised = {
  'pt-BR': 'A regra não vale para este tipo de arquivo.',
  en: 'The rule is not for this type of file.',
}
const NOT_IN_FORCE: Localised = {
  'pt-BR': 'A regra não está em vigor nesta data.',
  en: 'The rule is not in force on this date.',
}
const OTHER_LANGUAGE: Localised = {
  'pt-BR': 'O documento está em um idioma que a regra não lê.',
  en: 'The document is in a language that the rule does not read.',
}

const run = (
  { appliesTo, validity, ...rule }: CompiledRule,
  context: () => RuleContext,
  reading: Reading,
  today: string,
): Outcome => {
  const { mime, language } = appliesTo
  if (mime !== undefined && !mime.includes(reading.document.mediaType)) return notApplicable(OTHER_TYPE)
  if (today < (validity.from ?? '') || today > (validity.to ?? '9999')) return notApplicable(NOT_IN_FORCE)
  if (reading.words().starts.length === 0) return skipped(NO_TEXT)
  const written = reading.language()
  if (language !== undefined && written !== 'unknown' && !language.includes(written))
    return skipped(OTHER_LANGUAGE)
  return rule.run(context())
}

const pagesWithoutText = ({ text, pages }: DocumentText): readonly number[] =>
  pages.filter(({ start, end }) => text.slice(start, end).trim() === '').map(({ number }) => number)

const bySeverity = (a: Finding, b: Finding): number =>
  SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) ||
  (a.evidence[0]?.charStart ?? -1) - (b.evidence[0]?.charStart ?? -1) ||
  (a.ruleId < b.ruleId ? -1 : Number(a.ruleId > b.ruleId))

/**
 * Runs every rule of the packs on a document; a rule that two packs share runs once. The same input gives the same
 * output. Rejects with the signal's reason when it aborts.
 */
export const assess = async (
  packs: readonly CompiledPack[],
  document: DocumentText,
  { locale, today, signal, now = () => performance.now() }: AssessOptions,
): Promise<Assessment> => {
  const reading = readDocument(document)
  const findings: Finding[] = []
  const counts: RuleCount[] = []
  const rulesRun: string[] = []
  const rulesSkipped: { ruleId: string; reason: string }[] = []
  const rulesNotApplicable: { ruleId: string; reason: string }[] = []
  const done = new Set<string>()
  let sliceEnds = now() + SLICE_MS
  for (const pack of packs) {
    let shared: RuleContext | undefined
    const context = () => {
      shared ??= { reading, hits: findTerms(pack.terms, reading), locale, today, now }
      return shared
    }
    for (const rule of pack.rules) {
      const identity = `${rule.packId}/${rule.id}`
      if (done.has(identity)) continue
      done.add(identity)
      if (now() >= sliceEnds) {
        await setImmediate()
        sliceEnds = now() + SLICE_MS
      }
      signal?.throwIfAborted()
      const outcome = run(rule, context, reading, today)
      if (outcome.state !== 'assessed') {
        const list = outcome.state === 'skipped' ? rulesSkipped : rulesNotApplicable
        list.push({ ruleId: rule.id, reason: outcome.reason[locale] })
        continue
      }
      rulesRun.push(rule.id)
      const found = toFindings(rule, outcome.hits, reading, locale)
      findings.push(...found.slice(0, MAX_FINDINGS_PER_RULE))
      counts.push({ ruleId: rule.id, severity: rule.severity, count: found.length, maxCount: rule.maxCount })
    }
  }
  const empty = pagesWithoutText(document)
  const pagesRead = document.pages.length - empty.length
  const enoughRead = document.pages.length === 0 || pagesRead >= MIN_READ_SHARE * document.pages.length
  const { score, ledger } = scoreOf(counts)
  const known = rulesRun.length > 0 ? score : null
  const critical = findings.some(({ severity }) => severity === 'critical')
  return {
    findings: findings.sort(bySeverity),
    score: known,
    ledger,
    verdict: verdictOf(known, critical, rulesSkipped.length === 0 && enoughRead),
    coverage: {
      rulesRun,
      rulesSkipped,
      rulesNotApplicable,
      pages: document.pages.length,
      pagesRead,
      pagesWithoutText: empty,
      words: reading.words().starts.length,
      language: reading.language(),
    },
  }
}
