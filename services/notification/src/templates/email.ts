import { linkLabel } from './link.ts'
import { languageOf, type Text } from './text.ts'

const FOOTERS = {
  'pt-BR': 'Enviado pelo docmesh porque você pediu para ser avisado.',
  en: 'Sent by docmesh because you asked to be told.',
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
  const footer = FOOTERS[language]
  const label = linkLabel(locale)
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
