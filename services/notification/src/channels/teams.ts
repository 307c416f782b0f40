import type { Claimed } from '../model.ts'
import { linkLabel } from '../templates/link.ts'
import { truncate } from '../templates/text.ts'
import type { HttpChannel } from './http-sender.ts'

/** A message may have 28 KB in all. */
const MAX_BODY = 4_000
const MAX_LINES = 60

/**
 * Microsoft Teams: an adaptive card in the envelope that the webhooks of workflows take ("Create incoming webhooks with
 * Workflows", Microsoft Learn). Texts are TextRuns, which know no Markdown: the name of a document cannot become a
 * link. Teams has no key to recognise a repeat by.
 */
export const teams = ({ linkOf }: { linkOf: (claimed: Claimed) => string }): HttpChannel => ({
  url: (destination) => destination,
  request: (claimed) => ({
    url: claimed.destination,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(messageOf(claimed, linkOf(claimed))),
  }),
})

const messageOf = (claimed: Claimed, link: string) => ({
  type: 'message',
  attachments: [
    {
      contentType: 'application/vnd.microsoft.card.adaptive',
      contentUrl: null,
      content: cardOf(claimed, link),
    },
  ],
})

const textOf = (text: string, style = {}) => ({
  type: 'RichTextBlock',
  inlines: [{ type: 'TextRun', text, ...style }],
})

const cardOf = ({ title, body, locale }: Claimed, link: string) => ({
  $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
  type: 'AdaptiveCard',
  version: '1.4',
  lang: locale,
  body: [
    textOf(title, { size: 'Medium', weight: 'Bolder' }),
    ...truncate(body, MAX_BODY)
      .split('\n')
      .filter((line) => line !== '')
      .slice(0, MAX_LINES)
      .map((line) => textOf(line)),
  ],
  actions: link ? [{ type: 'Action.OpenUrl', title: linkLabel(locale), url: link }] : [],
})
