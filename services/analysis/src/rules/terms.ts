import { type Automaton, buildAutomaton } from './aho-corasick.ts'
import type { Span } from './document-text.ts'
import { foldText, isWordUnit, unfold } from './fold.ts'
import type { Reading } from './reading.ts'
import type { Section } from './sections.ts'

/** All literal terms of a pack. A term is whole words without case or accents; a final `*` also takes endings. */
export interface TermIndex {
  readonly automaton: Automaton
  readonly open: readonly boolean[]
  readonly names: readonly string[]
}

export interface TermHits {
  /** Where the term occurs, in text order, in offsets of the original text. */
  readonly of: (term: string) => readonly Span[]
  /** Sections whose title holds the term. */
  readonly titled: (term: string) => readonly Section[]
}

const key = (term: string): string => foldText(term)

export const indexTerms = (terms: Iterable<string>): TermIndex => {
  const names = [...new Set([...terms].map(key))]
  const patterns = names.map((name) => name.replace(/\*$/, ''))
  return { automaton: buildAutomaton(patterns), names, open: names.map((name) => name.endsWith('*')) }
}

interface Found {
  readonly spans: Span[]
  readonly sections: Section[]
}

/** One pass over the folded text for every term of the index. */
export const findTerms = (index: TermIndex, reading: Reading): TermHits => {
  const folded = reading.folded()
  const { text } = folded
  const { sections } = reading.outline()
  const byName = new Map<string, Found>(index.names.map((name) => [name, { spans: [], sections: [] }]))
  const wanted = index.automaton.patterns.map((pattern) => ({
    whole: byName.get(pattern),
    open: byName.get(`${pattern}*`),
  }))
  let current = 0
  const note = (found: Found, span: Span) => {
    found.spans.push(span)
    while ((sections[current]?.titleSpan.end ?? Number.POSITIVE_INFINITY) < span.end) current++
    const section = sections[current]
    if (section !== undefined && span.start >= section.titleSpan.start && found.sections.at(-1) !== section) {
      found.sections.push(section)
    }
  }
  index.automaton.scan(text, (pattern, start, end) => {
    const { whole, open } = wanted[pattern] ?? {}
    const startsInside =
      start > 0 && isWordUnit(text.charCodeAt(start - 1)) && isWordUnit(text.charCodeAt(start))
    if (startsInside) return
    const endsInside =
      end < text.length && isWordUnit(text.charCodeAt(end)) && isWordUnit(text.charCodeAt(end - 1))
    if (whole !== undefined && !endsInside) note(whole, unfold(folded, start, end))
    if (open !== undefined) note(open, unfold(folded, start, end))
  })
  const found = (term: string): Found => byName.get(key(term)) ?? { spans: [], sections: [] }
  return { of: (term) => found(term).spans, titled: (term) => found(term).sections }
}

/** All occurrences of any of the terms, in text order, longest first where two start together. */
export const anyOf = (hits: TermHits, terms: readonly string[]): readonly Span[] =>
  terms.flatMap((term) => hits.of(term)).sort((a, b) => a.start - b.start || b.end - a.end)
