import { type Language, languageOf, lines, type Text } from './text.ts'

const TEST = {
  'pt-BR': { title: 'Teste de notificação', body: 'Se você lê isto, as notificações chegam até você.' },
  en: { title: 'Test notification', body: 'If you read this, notifications reach you.' },
} as const

export const testText = (language: Language): Text => TEST[language]

const MAX_LISTED = 50

const DIGEST = {
  'pt-BR': {
    title: (count: number) => (count === 1 ? 'Resumo: 1 notificação' : `Resumo: ${count} notificações`),
    more: (count: number) => `… e mais ${count}.`,
  },
  en: {
    title: (count: number) => (count === 1 ? 'Digest: 1 notification' : `Digest: ${count} notifications`),
    more: (count: number) => `… and ${count} more.`,
  },
} as const

/** Many notifications as one; each has its own language already. */
export function digestText(titles: readonly string[], locale: string): Text {
  const { title, more } = DIGEST[languageOf(locale)]
  const hidden = titles.length - MAX_LISTED
  return {
    title: title(titles.length),
    body: lines(...titles.slice(0, MAX_LISTED).map((one) => `• ${one}`), hidden > 0 && more(hidden)),
  }
}
