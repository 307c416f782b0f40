/** What an instance says of itself. */
export interface Description {
  readonly service: string
  readonly instanceId: string
  readonly incarnation: bigint
  readonly address: string
  readonly adminAddress: string
  readonly version: string
  readonly zone: string
  readonly grpcServices: readonly string[]
  readonly dependencies: readonly string[]
  readonly capabilities: readonly string[]
  readonly weight: number
  readonly labels: Readonly<Record<string, string>>
}

export type State = 'starting' | 'serving' | 'suspect' | 'draining'
/** `degraded`: its checks pass, but its event loop lags. */
export type Health = 'unknown' | 'healthy' | 'degraded' | 'unhealthy'

/** An instance as the registry knows it. */
export interface Member extends Description {
  readonly state: State
  readonly health: Health
  readonly responseTimeMs: number | undefined
  readonly registeredAt: Date
  readonly renewedAt: Date
  /** Revision of its last change. */
  readonly revision: bigint
}
