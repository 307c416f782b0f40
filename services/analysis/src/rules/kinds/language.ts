import { z } from 'zod'
import { countSyllables, detectLanguage, fleschEase } from '../language.ts'
import { assessed, defineKind, type Hit, notApplicable, skipped } from './kind.ts'

const SENTENCE_END = /[.!?](?=\s|$)/g

/** Flesch reading ease of the prose must reach `minEase`; short documents are not judged. */
export const readability = defineKind({
  name: 'readability',
  shape: {
    readability: z.strictObject({
      minEase: z.number().min(0).max(100),
      minWords: z.int().min(30).max(10_000).default(100),
    }),
  },
  values: ['ease', 'wordsPerSentence'],
  prepare: ({ readability: { minEase, minWords } }) => ({
    terms: [],
    run: ({ reading }) => {
      const { text } = reading.document
      const counts = { words: 0, sentences: 0, syllables: 0 }
      const language = reading.language()
      const spoken = language === 'en' ? 'en' : 'pt'
      const known = new Map<string, number>()
      const syllables = (word: string): number => {
        let count = known.get(word)
        if (count === undefined) {
          count = /[a-z]/.test(word) ? countSyllables(word, spoken) : 0
          known.set(word, count)
        }
        return count
      }
      for (const span of reading.prose()) {
        let words = 0
        for (const word of reading.wordsIn(span)) {
          const count = syllables(word)
          counts.syllables += count
          if (count > 0) words++
        }
        if (words === 0) continue
        counts.words += words
        const ends = text.slice(span.start, span.end).match(SENTENCE_END)
        counts.sentences += ends?.length ?? 1
      }
      if (counts.words < minWords) {
        return notApplicable({
          'pt-BR': `O texto tem menos de ${minWords} palavras.`,
          en: `The text has fewer than ${minWords} words.`,
        })
      }
      if (language !== 'pt' && language !== 'en') {
        return skipped({
          'pt-BR': 'A leitura só é medida em português e inglês; o idioma deste texto é outro ou incerto.',
          en: 'Reading ease is measured in Portuguese and English only; this text is in another or unclear language.',
        })
      }
      const ease = fleschEase(counts, language)
      if (ease >= minEase) return assessed([])
      const wordsPerSentence = String(Math.round(counts.words / counts.sentences))
      const values = { ease: ease.toFixed(0), wordsPerSentence }
      return assessed([{ spans: [], key: 'document', confidence: 0.7, values }])
    },
  }),
})

const NAMES: Readonly<Record<string, readonly [string, string]>> = {
  pt: ['português', 'Portuguese'],
  en: ['inglês', 'English'],
  es: ['espanhol', 'Spanish'],
  fr: ['francês', 'French'],
}

/** Paragraphs in another language than the document. */
export const language = defineKind({
  name: 'language',
  shape: {
    language: z.strictObject({
      check: z.literal('single', 'write single'),
      minWords: z.int().min(12).max(1_000).default(20),
    }),
  },
  values: ['expected', 'found'],
  prepare: ({ language: { minWords } }) => ({
    terms: [],
    run: ({ reading, locale }) => {
      const main = reading.language()
      if (main === 'unknown') {
        return notApplicable({
          'pt-BR': 'O idioma do documento não é claro.',
          en: 'The language of the document is not clear.',
        })
      }
      const name = (code: string) => NAMES[code]?.[locale === 'pt-BR' ? 0 : 1] ?? code
      const hits = reading.prose().flatMap((span): Hit[] => {
        const words = reading.wordsIn(span)
        if (words.length < minWords) return []
        const found = detectLanguage(words)
        if (found === 'unknown' || found === main) return []
        return [{ spans: [span], confidence: 0.75, values: { expected: name(main), found: name(found) } }]
      })
      return assessed(hits)
    },
  }),
})
