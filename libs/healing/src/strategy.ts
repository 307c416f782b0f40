import type { Criticality, HealthCheck } from './health-check.ts'

/** What to do when a check fails. The first strategy that fits is taken. */
export interface Strategy {
  /** Name of the check; not set fits every name. */
  readonly check?: string
  /** Not set fits every criticality. */
  readonly criticality?: Criticality
  /** One after the other, until the check passes again; the actions of a step are done in order. Empty: nothing helps. */
  readonly steps: readonly (readonly string[])[]
  /** How loudly people are told when no step has helped. */
  readonly escalation: Criticality
}

const NOTHING_FITS: Strategy = { steps: [], escalation: 'low' }

export const strategyFor = (
  strategies: readonly Strategy[],
  { name, criticality }: Pick<HealthCheck, 'name' | 'criticality'>,
): Strategy =>
  strategies.find(
    (each) =>
      (each.check === undefined || each.check === name) &&
      (each.criticality === undefined || each.criticality === criticality),
  ) ?? NOTHING_FITS

/** For a fleet of services over one database, with the actions of `fleetActions`. */
export const FLEET_STRATEGIES: readonly Strategy[] = [
  { check: 'database', steps: [['restart'], ['restart'], ['restart']], escalation: 'critical' },
  { check: 'health', steps: [['restart'], ['open-circuit'], ['restart']], escalation: 'high' },
  { check: 'lease', steps: [['restart'], ['restart']], escalation: 'high' },
  // A new instance first, so that nothing is missing while the large one starts again.
  { check: 'memory', steps: [['clear-cache'], ['add-instance', 'restart']], escalation: 'medium' },
  { check: 'event-loop', steps: [['add-instance'], ['open-circuit']], escalation: 'medium' },
  { check: 'disk', steps: [], escalation: 'high' },
  { criticality: 'critical', steps: [['restart']], escalation: 'critical' },
  { steps: [['clear-cache']], escalation: 'low' },
]
