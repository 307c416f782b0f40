import type { HealingEvent } from '@docmesh/healing'
import { plain } from '../render/text.ts'

/** One line about what the healing noticed or does. */
export function healingLine(event: HealingEvent): string {
  return `${plain(words(event))}\n`
}

function words(event: HealingEvent): string {
  switch (event.kind) {
    case 'checked':
      return event.healthy ? `${event.check} passes again` : `${event.check} fails: ${event.detail}`
    case 'started':
      return `${event.check}: ${event.action}`
    case 'completed':
      return event.succeeded
        ? `${event.check} is mended: ${event.detail}`
        : `could not be mended: ${event.detail}`
  }
}
