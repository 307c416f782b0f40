import type { Claimed, Severity } from '../model.ts'
import { truncate } from '../templates/text.ts'
import { alertKey } from './alert-key.ts'
import type { HttpChannel } from './http-sender.ts'

const MAX_ALIAS = 512
const MAX_MESSAGE = 130
const MAX_DESCRIPTION = 15_000
const MAX_DETAILS = 8_000
const MAX_ENTITY = 512

const PRIORITIES: Readonly<Record<Severity, string>> = {
  critical: 'P1',
  error: 'P2',
  warning: 'P3',
  info: 'P5',
}

export interface OpsgenieOptions {
  /** https://api.opsgenie.com, or https://api.eu.opsgenie.com for accounts in the EU. */
  readonly baseUrl: string
  readonly linkOf: (claimed: Claimed) => string
}

/**
 * Opsgenie Alert API: while an alert is open, another one with its alias is counted into it, and the end of an incident
 * closes the alert that its begin opened. It takes requests with a `requestId` and works on them later.
 */
export const opsgenie = ({ baseUrl, linkOf }: OpsgenieOptions): HttpChannel => {
  const alerts = new URL('/v2/alerts', baseUrl).href
  return {
    url: () => alerts,
    request: (claimed) => {
      const alias = alertKey(claimed, MAX_ALIAS)
      const message = claimed.resolves
        ? { source: 'docmesh', note: truncate(claimed.title, MAX_DESCRIPTION) }
        : alertOf(claimed, alias, linkOf(claimed))
      return {
        url: claimed.resolves ? `${alerts}/${encodeURIComponent(alias)}/close?identifierType=alias` : alerts,
        headers: { 'content-type': 'application/json', authorization: `GenieKey ${claimed.destination}` },
        body: JSON.stringify(message),
      }
    },
    accepts: (body) => /"requestId"\s*:/.test(body),
  }
}

const alertOf = (claimed: Claimed, alias: string, link: string) => ({
  message: truncate(claimed.title, MAX_MESSAGE),
  alias,
  description: truncate([claimed.body, link].filter(Boolean).join('\n\n'), MAX_DESCRIPTION),
  source: 'docmesh',
  entity: truncate(claimed.subjectId, MAX_ENTITY),
  priority: PRIORITIES[claimed.severity],
  details: {
    eventId: claimed.eventId,
    eventType: claimed.eventType,
    event: truncate(JSON.stringify(claimed.facts), MAX_DETAILS),
  },
})
