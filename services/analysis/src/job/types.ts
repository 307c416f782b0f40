// What anybody may have done later, or on a schedule, by the name of its type.
import { invalidRequest, runInCall } from '@docmesh/rpc'
import { defineJob, type JobContext, type JobType } from '@docmesh/workflow'
import { z } from 'zod'
import type { Caller, Options } from '../analysis.ts'
import { repeated } from '../repeated.ts'
import { localeFrom } from '../wire.ts'

/** What the jobs need of the analyses; both give the first analysis again for a request id that they know. */
export interface AnalysisStarter {
  start(
    documentId: string,
    documentVersion: number,
    options: Options,
    requestId: string,
    caller: Caller,
  ): Promise<{ readonly id: string }>
  /** Without packs those asked for the first time, in their newest versions. */
  rerun(
    id: string,
    rulePacks: readonly string[],
    requestId: string,
    caller: Caller,
  ): Promise<{ readonly id: string }>
}

const MAX_PACKS = 20
/** Told of an input. */
const MAX_ISSUES = 10
const id = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'write the id, a UUID in lower case')
const rulePacks = z.array(z.string().min(1).max(255)).max(MAX_PACKS).default([])

const startInput = z.strictObject({
  document_id: id,
  /** 0 is the current one when the job runs. */
  document_version: z.int().min(0).default(0),
  rule_packs: rulePacks,
  locale: z.string().max(35).default('en'),
  notify: z.boolean().default(false),
})
const rerunInput = z.strictObject({ analysis_id: id, rule_packs: rulePacks })

const checked =
  <T>(schema: z.ZodType<T>) =>
  (input: unknown): T => {
    const { success, data, error } = schema.safeParse(input)
    if (success) return data
    throw invalidRequest(
      error.issues.slice(0, MAX_ISSUES).map(({ path, message }) => ({
        field: ['input', ...path].join('.'),
        description: repeated(message),
      })),
    )
  }

/** Calls to other services are made for whoever queued the job. */
function asCaller<T>(job: JobContext<unknown>, work: (caller: Caller) => Promise<T>): Promise<T> {
  const caller = { userId: job.requestedBy, tenantId: job.tenant, requestId: job.idempotencyKey }
  const call = { ...caller, deadline: Date.now() + TIMEOUT_MS, signal: job.signal }
  return runInCall(call, () => work(caller))
}

const TIMEOUT_MS = 30_000

/**
 * `analysis:start` analyses a document; `analysis:rerun` analyses one again with the newest rule packs. The analyses come
 * once there are workflows, which have to know the types first: a job that comes even earlier waits.
 */
export function analysisJobTypes(analyses: Promise<AnalysisStarter>): readonly JobType[] {
  return [
    defineJob<z.infer<typeof startInput>>({
      type: 'analysis:start',
      timeoutMs: TIMEOUT_MS,
      retry: 'transient',
      check: checked(startInput),
      run: (job) =>
        asCaller(job, async (caller) => {
          const { document_id, document_version, rule_packs, locale, notify } = job.input
          const options = {
            rulePacks: rule_packs,
            locale: localeFrom(locale),
            priority: 'normal',
            aiEnabled: false,
            notify,
            unmask: false,
          } as const
          const { start } = await analyses
          const analysis = await start(document_id, document_version, options, caller.requestId, caller)
          return { analysis_id: analysis.id }
        }),
    }),
    defineJob<z.infer<typeof rerunInput>>({
      type: 'analysis:rerun',
      timeoutMs: TIMEOUT_MS,
      retry: 'transient',
      check: checked(rerunInput),
      run: (job) =>
        asCaller(job, async (caller) => {
          const { analysis_id, rule_packs } = job.input
          const { rerun } = await analyses
          const analysis = await rerun(analysis_id, rule_packs, caller.requestId, caller)
          return { analysis_id: analysis.id }
        }),
    }),
  ]
}
