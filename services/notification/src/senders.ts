import type { Sender, Senders } from './channel.ts'
import { type HttpChannel, httpSender } from './channels/http-sender.ts'
import { opsgenie } from './channels/opsgenie.ts'
import { pagerDuty } from './channels/pagerduty.ts'
import { slack } from './channels/slack.ts'
import { teams } from './channels/teams.ts'
import { webhook } from './channels/webhook.ts'
import { createPost } from './http-post.ts'
import type { Claimed } from './model.ts'
import { createNetworkGuard } from './network-guard.ts'
import type { OutsideChannel } from './preferences.ts'

export interface SendersOptions {
  readonly clock: () => Date
  readonly linkOf: (claimed: Claimed) => string
  /** Networks in CIDR form that users may name without being public. */
  readonly allowedNetworks: readonly string[]
  readonly pagerDutyUrl: string
  readonly opsgenieUrl: string
  /** Of one HTTP exchange; default 10,000. */
  readonly httpTimeoutMs?: number
  /** Undefined for none. */
  readonly email: Sender | undefined
}

/** Every way out of docmesh. */
export function openSenders({
  clock,
  linkOf,
  allowedNetworks,
  pagerDutyUrl,
  opsgenieUrl,
  httpTimeoutMs = 10_000,
  email,
}: SendersOptions): Senders {
  const post = createPost({ guard: createNetworkGuard({ allowedNetworks }), timeoutMs: httpTimeoutMs })
  const over = (channel: HttpChannel): Sender => httpSender(channel, { post, clock })
  return new Map<OutsideChannel, Sender>([
    ...(email ? [['email', email] as const] : []),
    ['slack', over(slack({ linkOf }))],
    ['teams', over(teams({ linkOf }))],
    ['webhook', over(webhook({ clock, linkOf }))],
    ['pagerduty', over(pagerDuty({ baseUrl: pagerDutyUrl, linkOf }))],
    ['opsgenie', over(opsgenie({ baseUrl: opsgenieUrl, linkOf }))],
  ])
}
