import type { Claimed } from '../model.ts'
import { linkLabel } from '../templates/link.ts'
import { truncate } from '../templates/text.ts'
import { alertKey } from './alert-key.ts'
import type { HttpChannel } from './http-sender.ts'

const MAX_SUMMARY = 1_024
const MAX_KEY = 255

export interface PagerDutyOptions {
  /** Events API v2, for example https://events.pagerduty.com. */
  readonly baseUrl: string
  readonly linkOf: (claimed: Claimed) => string
}

/**
 * PagerDuty Events API v2: a repeat falls into the alert with its `dedup_key`, and the end of an incident resolves the
 * alert that its begin triggered. It answers `{"status":"success"}`.
 */
export const pagerDuty = ({ baseUrl, linkOf }: PagerDutyOptions): HttpChannel => {
  const url = new URL('/v2/enqueue', baseUrl).href
  return {
    url: () => url,
    request: (claimed) => ({
      url,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(eventOf(claimed, linkOf(claimed))),
    }),
    accepts: (body) => /"status"\s*:\s*"success"/.test(body),
  }
}

function eventOf(claimed: Claimed, link: string) {
  const { destination, resolves, title, body, severity, subjectType, subjectId, eventType } = claimed
  const key = { routing_key: destination, dedup_key: alertKey(claimed, MAX_KEY) }
  if (resolves) return { ...key, event_action: 'resolve' }
  return {
    ...key,
    event_action: 'trigger',
    client: 'docmesh',
    payload: {
      summary: truncate(title, MAX_SUMMARY),
      source: subjectId || 'docmesh',
      severity,
      timestamp: claimed.createdAt.toISOString(),
      component: subjectType || 'docmesh',
      class: eventType,
      custom_details: { body, event: claimed.facts },
    },
    links: link ? [{ href: link, text: linkLabel(claimed.locale) }] : [],
  }
}
