import { invalidRequest } from '@docmesh/rpc'
import type { Resource } from './resources.ts'

/** What a client was told of one name, and what it said to it. */
export interface Held {
  /** Undefined when it was told that the name does not exist. */
  readonly version: string | undefined
  /** Undefined when the client brought the version from an earlier stream. */
  readonly resource: Resource | undefined
  readonly state: 'sent' | 'acked' | 'nacked'
  readonly nonce: string
  readonly at: Date
  readonly error: string
}

/** What one stream wants of one type, and has. */
export interface Subscription {
  readonly names: Set<string>
  wildcard: boolean
  /** Whether a name was ever asked for on this stream. */
  everNamed: boolean
  /** Names that have to be answered, changed or not. */
  readonly owed: Set<string>
  /** True until the first answer after new names, or a new wildcard. */
  asked: boolean
  readonly held: Map<string, Held>
  /** Of the last response. */
  nonce: string
  /** Whether the client has said what it thinks of the last response. */
  answered: boolean
}

/** Names of one type on one stream; a client of a larger mesh takes the wildcard. */
export const MAX_NAMES = 1_000
const MAX_NAME_LENGTH = 512
const MAX_ERROR_LENGTH = 1_000

export const createSubscription = (): Subscription => ({
  names: new Set(),
  wildcard: false,
  everNamed: false,
  owed: new Set(),
  asked: false,
  held: new Map(),
  nonce: '',
  answered: true,
})

/** @throws INVALID_REQUEST for more or longer names than a client can need. */
export function addNames(subscription: Subscription, names: Iterable<string>, field: string): void {
  for (const name of names) {
    const isOneMore = !subscription.names.has(name)
    if (name.length > MAX_NAME_LENGTH || (isOneMore && subscription.names.size >= MAX_NAMES)) {
      throw invalidRequest([
        { field, description: `at most ${MAX_NAMES} names of ${MAX_NAME_LENGTH} characters` },
      ])
    }
    subscription.names.add(name)
    subscription.owed.add(name)
    subscription.asked = true
  }
}

export function removeName({ names, owed, held, wildcard }: Subscription, name: string): void {
  names.delete(name)
  owed.delete(name)
  if (!wildcard) held.delete(name)
}

export function setWildcard(subscription: Subscription, on: boolean): void {
  const { names, held } = subscription
  if (on && !subscription.wildcard) subscription.asked = true
  if (!on && subscription.wildcard) for (const name of held.keys()) if (!names.has(name)) held.delete(name)
  subscription.wildcard = on
}

export interface News {
  /** What has to be sent. */
  readonly due: readonly Resource[]
  /** What the client has and what is no more. */
  readonly gone: readonly string[]
  /** Names that are asked for and do not exist, which the client does not know yet. */
  readonly absent: readonly string[]
}

/** What the client does not know yet of `all`, each as `find` gives it. */
export function newsFor(
  { names, wildcard, owed, held }: Subscription,
  all: ReadonlyMap<string, Resource>,
  find: (name: string) => Resource | undefined,
): News {
  const due: Resource[] = []
  const absent: string[] = []
  for (const name of wildcard ? new Set([...all.keys(), ...names]) : names) {
    const resource = find(name)
    if (resource) {
      if (owed.has(name) || held.get(name)?.version !== resource.version) due.push(resource)
    } else if (owed.has(name) || held.get(name)?.version !== undefined) absent.push(name)
  }
  const gone = [...held].filter(([name, { version }]) => version !== undefined && !find(name))
  return { due, absent, gone: gone.map(([name]) => name) }
}

/** Notes a response with the next nonce. */
export function noteSent(
  subscription: Subscription,
  {
    nonce,
    sent,
    missing,
    at,
  }: { nonce: string; sent: readonly Resource[]; missing: readonly string[]; at: Date },
): void {
  const { held, owed } = subscription
  for (const resource of sent) {
    const { name, version } = resource
    held.set(name, { version, resource, state: 'sent', nonce, at, error: '' })
    owed.delete(name)
  }
  noteMissing(subscription, missing, nonce, at)
  subscription.nonce = nonce
  subscription.answered = false
  subscription.asked = false
}

/** The client knows, or is left to find out, that these do not exist. They are sent when they appear. */
export function noteMissing(
  { names, held, owed }: Subscription,
  missing: readonly string[],
  nonce: string,
  at: Date,
): void {
  for (const name of missing) {
    owed.delete(name)
    if (names.has(name)) {
      held.set(name, { version: undefined, resource: undefined, state: 'sent', nonce, at, error: '' })
    } else held.delete(name)
  }
}

/** Notes the answer to the last response. A later response being accepted says that the earlier ones were. */
export function noteAnswer(subscription: Subscription, error: string | undefined): void {
  subscription.answered = true
  for (const [name, held] of subscription.held) {
    if (held.state === 'sent' && (error === undefined || held.nonce === subscription.nonce))
      subscription.held.set(name, answered(held, error))
  }
}

/** Notes the answer to the response of that nonce, and to no other. False when that was not to be answered any more. */
export function noteAnswerTo(subscription: Subscription, nonce: string, error: string | undefined): boolean {
  const { held } = subscription
  let isNews = nonce === subscription.nonce && !subscription.answered
  if (nonce === subscription.nonce) subscription.answered = true
  for (const [name, each] of held) {
    if (each.state !== 'sent' || each.nonce !== nonce) continue
    isNews = true
    held.set(name, answered(each, error))
  }
  return isNews
}

const answered = (held: Held, error: string | undefined): Held =>
  error === undefined
    ? { ...held, state: 'acked' }
    : { ...held, state: 'nacked', error: error.slice(0, MAX_ERROR_LENGTH) }

/** A client that gets a changed cluster waits for its endpoints anew. */
export function resendEndpoints(
  clusters: readonly Resource[],
  { held }: Subscription,
  endpoints: Subscription | undefined,
): void {
  for (const { name } of clusters) {
    const isKnown = held.get(name)?.version !== undefined
    if (isKnown && (endpoints?.wildcard || endpoints?.names.has(name))) endpoints.owed.add(name)
  }
}
