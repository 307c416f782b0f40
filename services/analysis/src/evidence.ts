import { mask } from './report/mask.ts'
import type { Finding } from './rules/findings.ts'

/** Quotes are taken from the masked text, not masked by themselves: a quote that is cut may end in half a number. */
export function masked(findings: readonly Finding[], text: string): readonly Finding[] {
  const hidden = mask(text)
  return findings.map((finding) => ({
    ...finding,
    message: mask(finding.message),
    evidence: finding.evidence.map((evidence) => ({
      ...evidence,
      quote: hidden.slice(evidence.charStart, evidence.charStart + evidence.quote.length),
    })),
  }))
}

/** The evidence of every finding must stand in the text where it says. */
export function checkEvidence(findings: readonly Finding[], text: string): void {
  for (const { ruleId, evidence } of findings) {
    for (const { charStart, charEnd, quote } of evidence) {
      if (!text.slice(charStart, charEnd).startsWith(quote))
        throw new Error(`evidence of ${ruleId} is not in the text at ${charStart}`)
    }
  }
}
