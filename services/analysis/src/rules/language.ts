export type Language = 'pt' | 'en' | 'es' | 'fr' | 'unknown'

/** Frequent words that tell these languages apart, without accents. */
const STOP_WORDS: Readonly<Record<Exclude<Language, 'unknown'>, string>> = {
  pt: 'nao uma com dos das pela pelo ao aos sao seu sua ser mais ou e em do da na no os as ate pelas nos que sera',
  en: 'the of and to in is for shall by with this be or that are will any from not which its has may on',
  es: 'el los las y con del una en su al lo por para sus como este esta sera entre sin le',
  fr: 'le les des et du une dans est pour par sur qui au aux sont cette il elle ou ne pas',
}

const LANGUAGES = Object.keys(STOP_WORDS) as (keyof typeof STOP_WORDS)[]
const BY_WORD = new Map<string, (keyof typeof STOP_WORDS)[]>()
for (const language of LANGUAGES) {
  for (const word of STOP_WORDS[language].split(' ')) {
    BY_WORD.set(word, [...(BY_WORD.get(word) ?? []), language])
  }
}

const MIN_WORDS = 12
const MIN_SHARE = 0.12
const MIN_LEAD = 1.3

/** The language of folded words by its stop words; `unknown` when short, unlike the four, or too close to call. */
export const detectLanguage = (words: readonly string[]): Language => {
  const hits = { pt: 0, en: 0, es: 0, fr: 0 }
  const total = words.length
  for (const word of words) {
    const languages = BY_WORD.get(word)
    if (languages !== undefined) for (const language of languages) hits[language]++
  }
  if (total < MIN_WORDS) return 'unknown'
  const [best, second] = LANGUAGES.toSorted((a, b) => hits[b] - hits[a])
  if (best === undefined || second === undefined) return 'unknown'
  const clear = hits[best] / total >= MIN_SHARE && hits[best] >= MIN_LEAD * hits[second]
  return clear ? best : 'unknown'
}

const ENGLISH_SILENT = /(?:[^laeiouy]es|[^td]ed|[^laeiouy]e)$/

/** Syllables by groups of vowels; Portuguese takes ea, eo, oa, ia and io as two. */
export const countSyllables = (word: string, language: 'pt' | 'en'): number => {
  const plain = language === 'en' && word.length > 3 ? word.replace(ENGLISH_SILENT, '') : word
  let count = 0
  for (const [group] of plain.matchAll(language === 'en' ? /[aeiouy]+/g : /[aeiou]+/g)) {
    count += 1 + (language === 'pt' ? (group.match(/e(?=[ao])|o(?=a)|i(?=[ao])/g)?.length ?? 0) : 0)
  }
  return Math.max(1, count)
}

/**
 * Flesch reading ease; 100 is very easy, below 25 very hard. English: Flesch 1948. Portuguese: Martins et al.,
 * "Readability formulas applied to textbooks in Brazilian Portuguese", 1996, which adds 42.
 */
export const fleschEase = (
  counts: { readonly words: number; readonly sentences: number; readonly syllables: number },
  language: 'pt' | 'en',
): number =>
  (language === 'pt' ? 248.835 : 206.835) -
  1.015 * (counts.words / counts.sentences) -
  84.6 * (counts.syllables / counts.words)
