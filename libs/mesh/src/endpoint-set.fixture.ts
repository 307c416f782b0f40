import { endpointNamed, seededRandom } from './endpoint.fixture.ts'
import type { Endpoint } from './endpoint.ts'
import {
  createEndpointSet,
  type EndpointEvent,
  type EndpointSetDeps,
  type Outcome,
  type Pick,
  type PickOptions,
} from './endpoint-set.ts'

/** A set on a clock that moves only when told. Endpoints are given by name, or whole. */
export function setOf(endpoints: readonly (string | Endpoint)[], deps: Partial<EndpointSetDeps> = {}) {
  let nowMs = 0
  const clock = {
    now: () => nowMs,
    advance: (ms: number) => {
      nowMs += ms
    },
  }
  const events: EndpointEvent[] = []
  const set = createEndpointSet({
    now: clock.now,
    random: seededRandom(7),
    onEvent: (event) => events.push(event),
    ...deps,
  })
  const all = endpoints.map((each) => (typeof each === 'string' ? endpointNamed(each) : each))
  set.update(all)
  const ids = () => set.list().map(({ endpoint }) => endpoint.instanceId)
  const pick = (options?: PickOptions): Pick => {
    const picked = set.pick(options)
    if (typeof picked === 'string') throw new Error(picked)
    return picked
  }
  /** A call to this very endpoint. */
  const pickOnly = (id: string): Pick => {
    const picked = pick({ avoid: new Set(ids().filter((other) => other !== id)) })
    if (picked.endpoint.instanceId !== id) throw new Error(`picked ${picked.endpoint.instanceId}, not ${id}`)
    return picked
  }
  const fail = (id: string, outcome: Outcome, times = 1): void => {
    for (let i = 0; i < times; i++) pickOnly(id).done(outcome)
  }
  const states = () =>
    Object.fromEntries(set.list().map(({ endpoint, state }) => [endpoint.instanceId, state]))
  const news = () =>
    events
      .splice(0)
      .map((event) =>
        event.kind === 'panic'
          ? `panic ${event.active}`
          : `${event.kind} ${event.endpoint.instanceId}${event.kind === 'ejected' ? ` ${event.reason}` : ''}`,
      )
  /** How many of `times` picks went to each endpoint; `call` runs each of them. */
  const shares = (times: number, call: (pick: Pick) => void, options?: PickOptions) => {
    const counts: Record<string, number> = Object.fromEntries(ids().map((id) => [id, 0]))
    for (let i = 0; i < times; i++) {
      const picked = set.pick(options)
      if (typeof picked === 'string') continue
      counts[picked.endpoint.instanceId] = (counts[picked.endpoint.instanceId] ?? 0) + 1
      call(picked)
    }
    return counts
  }
  return { set, clock, news, pick, pickOnly, fail, states, shares }
}

/** Takes back the call at once: nobody learns anything. */
export const cancel = (pick: Pick): void => pick.done('NONE')
