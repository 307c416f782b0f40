export type { ActionCapOptions } from './action-cap.ts'
export { type Fleet, type FleetActionOptions, type FleetInstance, fleetActions } from './fleet.ts'
export {
  createHealing,
  type Healing,
  type HealingDeps,
  type HealingOptions,
} from './healing.ts'
export type { HealingEvent, Recovery } from './healing-event.ts'
export { type CheckResult, type Criticality, checkId, type HealthCheck } from './health-check.ts'
export type { RecoveryAction } from './recovery-action.ts'
export { FLEET_STRATEGIES, type Strategy } from './strategy.ts'
export type { After } from './timers.ts'
