export type Language = 'pt-BR' | 'en'

/** What a notification says: one line, and a few lines of plain text. */
export interface Text {
  readonly title: string
  readonly body: string
}

/** How something is told in each language. */
export type Template<T> = Readonly<Record<Language, (about: T) => Text>>

/** The language of ours that is nearest to a BCP 47 tag. */
export const languageOf = (locale: string): Language => (/^pt(?![a-z])/i.test(locale) ? 'pt-BR' : 'en')

export const MAX_NAME = 120
export const MAX_MESSAGE = 1_000

/**
 * Text of others on one line of ours: no line break to begin a header with, no control or direction mark to disguise
 * what stands there.
 */
export const oneLine = (text: string, max: number): string =>
  truncate(
    text
      .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
      .trim()
      .toWellFormed(),
    max,
  )

export const nameOf = (text: string): string => oneLine(text, MAX_NAME)
export const messageOf = (text: string): string => oneLine(text, MAX_MESSAGE)

export const lines = (...parts: readonly (string | false)[]): string => parts.filter(Boolean).join('\n')

/** At most `max` UTF-16 code units, no character cut in two. */
export const truncate = (text: string, max: number): string =>
  text.length <= max ? text : `${text.slice(0, max - 1).replace(/[\uD800-\uDBFF]$/, '')}…`
