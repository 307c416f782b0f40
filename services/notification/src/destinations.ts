// What users write as destinations, and what others may see of them.
import { z } from 'zod'
import type { Channel } from './preferences.ts'

const MAX_URL = 2_048
const MIN_SECRET = 16
const PRINTABLE = /^[\x21-\x7e]*$/

interface Kind {
  readonly fits: (text: string) => boolean
  /** What to write instead. */
  readonly hint: string
  readonly mask: (destination: string) => string
}

const isUrl = (text: string): boolean => {
  if (text.length > MAX_URL || !PRINTABLE.test(text) || !URL.canParse(text)) return false
  const { protocol, username, password } = new URL(text)
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === ''
}

/** The path of an incoming webhook is its password. */
const maskUrl = (url: string): string => `${new URL(url).origin}/…`
const maskKey = (key: string): string => `…${key.slice(-4)}`

const incomingWebhook = (example: string): Kind => ({
  fits: (text) => isUrl(text) && new URL(text).hash === '',
  hint: `write the URL of an incoming webhook, for example ${example}`,
  mask: maskUrl,
})

const KINDS: Readonly<Record<Channel, Kind>> = {
  in_app: {
    fits: (text) => text === '',
    hint: 'leave it empty: the feed needs none',
    mask: (text) => text,
  },
  email: {
    fits: (text) => text.length <= 254 && z.email().safeParse(text).success,
    hint: 'write one address, for example ana@example.com',
    mask: (text) => text,
  },
  slack: incomingWebhook('https://hooks.slack.com/services/T000/B000/XXXX'),
  teams: incomingWebhook('https://prod-00.westus.logic.azure.com/workflows/…'),
  webhook: {
    fits: (text) => isUrl(text) && signingSecret(text).length >= MIN_SECRET,
    hint: `write a URL and after a # the secret that signs, ${MIN_SECRET} characters or more, for example https://example.com/hook#Zk3v…`,
    mask: maskUrl,
  },
  pagerduty: {
    fits: (text) => /^[A-Za-z0-9]{32}$/.test(text),
    hint: 'write the integration key (routing key) of an Events API v2 integration, 32 letters and digits',
    mask: maskKey,
  },
  opsgenie: {
    fits: (text) => /^[A-Za-z0-9-]{16,64}$/.test(text),
    hint: 'write the key of an API integration, for example eb243592-faa2-4ba2-a551-1afdf565c889',
    mask: maskKey,
  },
}

/** What to write instead; empty when the destination can be one of this channel. */
export const destinationFault = (channel: Channel, destination: string): string =>
  KINDS[channel].fits(destination) ? '' : KINDS[channel].hint

/** Enough to recognise it by, and too little to use it. */
export const maskDestination = (channel: Channel, destination: string): string =>
  destination === '' ? '' : KINDS[channel].mask(destination)

/** The secret of a webhook is the fragment of its URL as its user wrote it: the one part that HTTP never sends. */
export const signingSecret = (url: string): string => url.split('#').slice(1).join('#')
