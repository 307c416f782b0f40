import type { Claimed } from '../model.ts'
import { linkLabel } from '../templates/link.ts'
import { truncate } from '../templates/text.ts'
import type { HttpChannel } from './http-sender.ts'

/** Limits of Block Kit. */
const MAX_HEADER = 150
const MAX_SECTION = 3_000

/**
 * Slack incoming webhook. Texts of others stand in `plain_text` blocks, where nothing is mark-up: a document called
 * `<!channel>` calls nobody. Slack has no key to recognise a repeat by. It answers `ok`, a refusal with a status.
 */
export const slack = ({ linkOf }: { linkOf: (claimed: Claimed) => string }): HttpChannel => ({
  url: (destination) => destination,
  request: (claimed) => ({
    url: claimed.destination,
    headers: { 'content-type': 'application/json; charset=utf-8' },
    body: JSON.stringify(messageOf(claimed, linkOf(claimed))),
  }),
  accepts: (body) => body.trim() === 'ok',
})

function messageOf({ title, body, locale }: Claimed, link: string) {
  const section = (type: 'plain_text' | 'mrkdwn', text: string) => ({ type: 'section', text: { type, text } })
  return {
    // Shown where blocks are not: in the notification of the phone.
    text: escapeMarkup(truncate(title, MAX_SECTION)),
    blocks: [
      { type: 'header', text: { type: 'plain_text', text: truncate(title, MAX_HEADER) } },
      ...(body ? [section('plain_text', truncate(body, MAX_SECTION))] : []),
      ...(link ? [section('mrkdwn', `<${escapeMarkup(link)}|${linkLabel(locale)}>`)] : []),
    ],
  }
}

const escapeMarkup = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
