import { Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import { AnalysisCompleted, AnalysisFailed } from '@docmesh/contracts/analysis/v1/events'
import { msOf } from '@docmesh/rpc'

export type Language = 'pt-BR' | 'en'

/** What a notification says: one line, and a few lines of plain text. */
export interface Text {
  readonly title: string
  readonly body: string
}

/** Events that people are told of. */
export const EVENT_TYPES: readonly string[] = [AnalysisCompleted.$type, AnalysisFailed.$type]

/** The language of ours that is nearest to a BCP 47 tag. */
export const languageOf = (locale: string): Language => (/^pt(?![a-z])/i.test(locale) ? 'pt-BR' : 'en')

const MAX_NAME = 120
const MAX_MESSAGE = 1_000

/**
 * Text of others on one line of ours: no line break to begin a header with, no control or direction mark to disguise
 * what stands there.
 */
const oneLine = (text: string, max: number): string => {
  const clean = text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .toWellFormed()
  const characters = Array.from(clean)
  return characters.length <= max ? clean : `${characters.slice(0, max - 1).join('')}…`
}

const lines = (...parts: readonly (string | false)[]): string => parts.filter(Boolean).join('\n')

const COMPLETED = {
  'pt-BR': {
    title: {
      [Verdict.PASS]: (name: string) => `Análise concluída: “${name}” está conforme`,
      [Verdict.FAIL]: (name: string) => `Análise concluída: “${name}” não está conforme`,
      [Verdict.INCOMPLETE]: (name: string) =>
        `Análise concluída: “${name}” não pôde ser avaliado por inteiro`,
      [Verdict.UNSPECIFIED]: (name: string) => `Análise concluída: “${name}”`,
    },
    score: (score: number | undefined) =>
      score === undefined ? 'Pontuação: não disponível.' : `Pontuação: ${score} de 100.`,
    counts: (critical: number, high: number, medium: number, low: number) =>
      `Problemas: críticos ${critical}, altos ${high}, médios ${medium}, baixos ${low}.`,
    duration: (seconds: string) => `Duração: ${seconds} s.`,
  },
  en: {
    title: {
      [Verdict.PASS]: (name: string) => `Analysis completed: “${name}” conforms`,
      [Verdict.FAIL]: (name: string) => `Analysis completed: “${name}” does not conform`,
      [Verdict.INCOMPLETE]: (name: string) => `Analysis completed: “${name}” could not be fully assessed`,
      [Verdict.UNSPECIFIED]: (name: string) => `Analysis completed: “${name}”`,
    },
    score: (score: number | undefined) =>
      score === undefined ? 'Score: not available.' : `Score: ${score} of 100.`,
    counts: (critical: number, high: number, medium: number, low: number) =>
      `Findings: critical ${critical}, high ${high}, medium ${medium}, low ${low}.`,
    duration: (seconds: string) => `Duration: ${seconds} s.`,
  },
} as const

export function completedText(event: AnalysisCompleted, language: Language): Text {
  const { documentName, documentId, verdict, score, counts, duration } = event
  const text = COMPLETED[language]
  const seconds = duration && msOf(duration) / 1_000
  return {
    title: (text.title[verdict] ?? text.title[Verdict.UNSPECIFIED])(
      oneLine(documentName || documentId, MAX_NAME),
    ),
    body: lines(
      text.score(score),
      counts !== undefined && text.counts(counts.critical, counts.high, counts.medium, counts.low),
      seconds !== undefined &&
        text.duration(new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(seconds)),
    ),
  }
}

const FAILED = {
  'pt-BR': {
    title: (name: string) => `A análise de “${name}” falhou`,
    step: (step: string, attempts: number) => `Etapa: ${step}; tentativas: ${attempts}.`,
    retryable: 'Iniciar a análise de novo pode resolver.',
  },
  en: {
    title: (name: string) => `The analysis of “${name}” failed`,
    step: (step: string, attempts: number) => `Step: ${step}; attempts: ${attempts}.`,
    retryable: 'Starting the analysis again may help.',
  },
} as const

export function failedText(event: AnalysisFailed, language: Language): Text {
  const { documentName, documentId, failure, attempts } = event
  const text = FAILED[language]
  return {
    title: text.title(oneLine(documentName || documentId, MAX_NAME)),
    body: lines(
      failure !== undefined && oneLine(failure.message || failure.reason, MAX_MESSAGE),
      failure !== undefined && failure.step !== '' && text.step(oneLine(failure.step, MAX_NAME), attempts),
      failure?.retryable === true && text.retryable,
    ),
  }
}

const TEST = {
  'pt-BR': { title: 'Teste de notificação', body: 'Se você lê isto, as notificações chegam até você.' },
  en: { title: 'Test notification', body: 'If you read this, notifications reach you.' },
} as const

export const testText = (language: Language): Text => TEST[language]

const EMAIL = {
  'pt-BR': { link: 'Ver a análise', footer: 'Enviado pelo docmesh porque você pediu para ser avisado.' },
  en: { link: 'See the analysis', footer: 'Sent by docmesh because you asked to be told.' },
} as const

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const escapeHtml = (text: string): string => text.replaceAll(/[&<>"']/g, (sign) => ESCAPES[sign] ?? sign)

/** The two forms of an email; `link` is where to read on, empty for none. */
export function emailBodies({ title, body }: Text, locale: string, link: string) {
  const language = languageOf(locale)
  const { link: label, footer } = EMAIL[language]
  const paragraphs = [
    `<h1 style="font-size:18px">${escapeHtml(title)}</h1>`,
    `<p>${escapeHtml(body).replaceAll('\n', '<br>\n')}</p>`,
    ...(link ? [`<p><a href="${escapeHtml(link)}">${label}</a></p>`] : []),
    `<p style="color:#666;font-size:12px">${footer}</p>`,
  ]
  return {
    text: [title, body, ...(link ? [`${label}: ${link}`] : []), `-- \n${footer}`].join('\n\n'),
    html: `<!doctype html>\n<html lang="${language}"><body style="font-family:sans-serif">\n${paragraphs.join('\n')}\n</body></html>\n`,
  }
}
