import type { Notification } from '../model.ts'
import { languageOf } from './text.ts'

const LABELS = { 'pt-BR': 'Ver a análise', en: 'See the analysis' } as const

/** What to call the link in the language of the notification. */
export const linkLabel = (locale: string): string => LABELS[languageOf(locale)]

/** Where to read on; empty when there is nothing, or when `publicUrl` is empty. */
export const linksTo =
  (publicUrl: string) =>
  ({ subjectType, subjectId }: Pick<Notification, 'subjectType' | 'subjectId'>): string =>
    publicUrl && subjectType === 'analysis'
      ? `${publicUrl.replace(/\/+$/, '')}/analyses/${encodeURIComponent(subjectId)}`
      : ''
