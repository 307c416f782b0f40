export type { QueueOptions } from './engine.ts'
export {
  defineJob,
  type EnqueueOptions,
  type Job,
  type JobContext,
  type JobDefinition,
  type JobEvent,
  type JobFilter,
  type JobState,
  type Jobs,
  type JobType,
  type QueueStats,
  type SteeredJob,
} from './job.ts'
export type {
  ForkOptions,
  ScheduledPipeline,
  StartOptions,
  Steered,
  Workflows,
  WorkflowsOptions,
} from './options.ts'
export {
  definePipeline,
  type Pipeline,
  type PipelineDefinition,
  type Skipped,
  type StepContext,
  type StepDefinition,
  skip,
} from './pipeline.ts'
export { isTransient, type RetryClass, type RetryPolicy } from './retry-class.ts'
export {
  type Failure,
  hasEnded,
  type Priority,
  type Run,
  type RunState,
  type RunStep,
  type StepState,
} from './run.ts'
export type { RunFilter } from './run-store.ts'
export { createWorkflows } from './workflows.ts'
