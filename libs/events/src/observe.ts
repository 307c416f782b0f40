import type { Metrics } from '@docmesh/telemetry'
import type { Observe } from './inbox.ts'
import { type Publish, publish } from './store.ts'

/** Counts what is published and how each attempt to handle it ends. */
export function observeEvents(metrics: Metrics | undefined): { publish: Publish; attempt: Observe } {
  if (!metrics) return { publish, attempt: () => {} }
  const published = metrics.counter('docmesh_events_published_total')
  const handled = metrics.counter('docmesh_events_handled_total')
  const deadLetters = metrics.counter('docmesh_events_dead_letters_total')
  const seconds = metrics.histogram('docmesh_events_delivery_seconds')
  return {
    async publish(tx, type, payload, options) {
      const event = await publish(tx, type, payload, options)
      published.inc({ type: type.$type })
      return event
    },
    attempt(subscriber, { type, occurredAt }, outcome) {
      handled.inc({ subscriber, type, outcome })
      if (outcome === 'dead_letter') deadLetters.inc({ subscriber })
      if (outcome === 'success' && occurredAt)
        seconds.observe({ subscriber }, (Date.now() - occurredAt.getTime()) / 1_000)
    },
  }
}
