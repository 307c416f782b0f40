/** `compensating` ends as `failed` or `cancelled`; `dead` waits for somebody to look at it and redrive it. */
export type RunState =
  | 'queued'
  | 'running'
  | 'paused'
  | 'compensating'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'dead'

export const ENDED: readonly RunState[] = ['completed', 'failed', 'cancelled', 'dead']

export const hasEnded = ({ state }: { readonly state: RunState }): boolean => ENDED.includes(state)

export type StepState = 'pending' | 'running' | 'completed' | 'skipped' | 'failed' | 'undone'

export interface RunStep {
  readonly name: string
  readonly state: StepState
  /** Failed attempts and the one under way. */
  readonly attempts: number
  /** Why it was skipped, or what the last failed attempt said. */
  readonly detail: string
  readonly startedAt: Date | undefined
  readonly endedAt: Date | undefined
}

export interface Failure {
  readonly step: string
  /** Of an RpcError its reason, else the name of the error. */
  readonly reason: string
  readonly message: string
}

export type Priority = 'low' | 'normal' | 'high'

/** What a run has that is a job. */
export interface JobPart {
  readonly priority: number
  readonly maxAttempts: number
  readonly requestedBy: string
  readonly scheduledFor: Date
  /** '' for one run. */
  readonly cron: string
  /** Id of the first run of its schedule. */
  readonly series: string | undefined
}

export interface Run {
  readonly id: string
  readonly pipeline: string
  readonly version: string
  readonly tenant: string
  readonly parentId: string | undefined
  readonly forkedFrom: string | undefined
  readonly priority: Priority
  readonly state: RunState
  readonly input: unknown
  /** 0 to 100; never goes back while the run goes on. */
  readonly progress: number
  readonly failure: Failure | undefined
  readonly steps: readonly RunStep[]
  /** Times that a node has begun it since it was last queued by hand; above 1 a node was lost. */
  readonly begun: number
  /** When a queued run may begin: a delay asked for, or the pause before the next attempt of a step. */
  readonly dueAt: Date | undefined
  readonly createdAt: Date
  readonly startedAt: Date | undefined
  readonly endedAt: Date | undefined
  /** Undefined for runs that are no jobs. */
  readonly job?: JobPart | undefined
}
