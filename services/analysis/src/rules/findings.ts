import { createHash } from 'node:crypto'
import type { Box } from './document-text.ts'
import { foldText } from './fold.ts'
import type { Hit, Locale } from './kinds/kind.ts'
import type { CompiledRule, Reference } from './pack.ts'
import type { Severity } from './pack-schema.ts'
import type { Reading } from './reading.ts'

/** Where in the canonical text, whose SHA-256 is `textSha256`; `quote` is cut at 240 characters, between words. */
export interface Evidence {
  readonly page: number
  readonly charStart: number
  readonly charEnd: number
  readonly quote: string
  readonly textSha256: string
  readonly box?: Box
}

export interface Finding {
  readonly ruleId: string
  readonly packId: string
  readonly packVersion: string
  readonly source: 'rule' | 'ai'
  readonly severity: Severity
  readonly category: string
  /** 0 to 1. */
  readonly confidence: number
  readonly title: string
  readonly message: string
  readonly remediation: string
  readonly references: readonly Reference[]
  /** At most 20 places; none when something is absent. */
  readonly evidence: readonly Evidence[]
  /** Rule and normalised quote: the same in the next version of the document. */
  readonly fingerprint: string
}

const MAX_QUOTE = 240
const MAX_EVIDENCE = 20

export const fingerprintOf = (ruleId: string, quoted: string): string =>
  createHash('sha256')
    .update(`${ruleId}\n${foldText(quoted)}`)
    .digest('hex')

const fill = (template: string, values: Readonly<Record<string, string>>): string =>
  template.replace(/\{(\w+)\}/g, (_, name: string) => quoteOf(values[name] ?? ''))

const overlaps = (a: Finding, b: Finding): boolean =>
  a.evidence.some((one) =>
    b.evidence.some((other) => one.charStart < other.charEnd && other.charStart < one.charEnd),
  )

/** Equal fingerprints and overlapping places of one rule are one finding, with the evidence of all. */
const mergeNearDuplicates = (findings: readonly Finding[]): readonly Finding[] => {
  const merged = new Map<string, Finding>()
  let last: Finding | undefined
  for (const finding of findings) {
    const same = merged.get(finding.fingerprint)
    if (same === undefined && last !== undefined && overlaps(last, finding)) continue
    const evidence = [...(same?.evidence ?? []), ...finding.evidence].slice(0, MAX_EVIDENCE)
    const confidence = Math.max(same?.confidence ?? 0, finding.confidence)
    last = { ...(same ?? finding), evidence, confidence }
    merged.set(finding.fingerprint, last)
  }
  return [...merged.values()]
}

/** Cut between words: half of a number would escape the masks of a report. Half of a surrogate pair no database takes. */
const quoteOf = (text: string): string => {
  if (text.length <= MAX_QUOTE) return text
  const cut = text.slice(0, MAX_QUOTE + 1).search(/\s\S*$/)
  return text.slice(0, cut > 0 ? cut : MAX_QUOTE).replace(/\p{Surrogate}$/u, '')
}

const evidenceOf = (hit: Hit, reading: Reading): readonly Evidence[] =>
  hit.spans.slice(0, MAX_EVIDENCE).map(({ start, end, page }) => {
    const box = reading.boxAt(start)
    return {
      page: page ?? reading.pageAt(start),
      charStart: start,
      charEnd: end,
      quote: quoteOf(reading.document.text.slice(start, end)),
      textSha256: reading.textSha256(),
      ...(box !== undefined && { box }),
    }
  })

/** Hits of one rule as findings in text order. */
export const toFindings = (
  rule: CompiledRule,
  hits: readonly Hit[],
  reading: Reading,
  locale: Locale,
): readonly Finding[] => {
  const findings = hits.map((hit): Finding => {
    const evidence = evidenceOf(hit, reading)
    const quoted = hit.key ?? evidence.map(({ quote }) => quote).join('\n')
    return {
      ruleId: rule.id,
      packId: rule.packId,
      packVersion: rule.packVersion,
      source: 'rule',
      severity: rule.severity,
      category: rule.category,
      confidence: hit.confidence,
      title: rule.title[locale],
      message: fill(rule.message[locale], hit.values ?? {}),
      remediation: rule.remediation[locale],
      references: rule.references,
      evidence,
      fingerprint: fingerprintOf(rule.id, quoted),
    }
  })
  const start = ({ evidence }: Finding) => evidence[0]?.charStart ?? -1
  return mergeNearDuplicates(findings.sort((a, b) => start(a) - start(b)))
}
