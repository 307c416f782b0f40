import {
  createPeakEwma,
  createRetryBudget,
  createSuccessRing,
  findOutliers,
  rendezvousScore,
  slowStartFactor,
  weightedChoice,
} from '../src/index.ts'
import type { Json, Question, Step } from './vectors.ts'

type Options = Readonly<Record<string, number | boolean>>
type Clock = { readonly now: () => number }
type Handlers = Readonly<Record<string, (step: Step) => Json>>

const ALGORITHMS: Readonly<Record<string, (options: Options, clock: Clock) => Handlers>> = {
  'peak-ewma'(options, clock) {
    const ewma = createPeakEwma(options, clock)
    const startedAt = new Map<Json | undefined, number>()
    const started = ({ call }: Step): number => startedAt.get(call) ?? Number.NaN
    return {
      start: ({ call }) => nothing(startedAt.set(call, ewma.start())),
      success: (step) => nothing(ewma.success(started(step))),
      failure: (step) => nothing(ewma.failure(started(step), Number(step.pushback_ms ?? 0))),
      cancel: (step) => nothing(ewma.cancel(started(step))),
      cost: ewma.cost,
      estimate: ewma.estimateMs,
      pending: ewma.pending,
    }
  },
  'success-ring'(options, clock) {
    const ring = createSuccessRing(options, clock)
    return {
      success: (step) => nothing(repeat(step, ring.success)),
      failure: (step) => nothing(repeat(step, ring.failure)),
      calls: ring.calls,
      failure_ratio: ring.failureRatio,
    }
  },
  'retry-budget'(options, clock) {
    const budget = createRetryBudget(options, clock)
    return {
      deposit: (step) => nothing(repeat(step, budget.deposit)),
      withdraw: (step) => repeat(step, budget.tryWithdraw).filter(Boolean).length,
      available: budget.available,
    }
  },
  'outlier-sweep': (options) => ({
    find: ({ hosts }) => {
      const counts = (hosts as [number, number][]).map(([successes, failures]) => ({ successes, failures }))
      return findOutliers(counts, options).map((reason) => reason ?? null)
    },
  }),
  'weighted-choice': () => ({
    choose: ({ weights, point }) => weightedChoice(weights as number[], Number(point)),
  }),
  rendezvous: () => ({
    score: ({ key, member, weight }) => rendezvousScore(String(key), String(member), Number(weight)),
  }),
  'slow-start': (options) => ({
    factor: ({ age_ms }) => slowStartFactor(Number(age_ms), options),
  }),
}

/** This library as an implementation under test: one question in, one line of results out. */
export function answerLine(line: string): string {
  const { algorithm, options, steps } = JSON.parse(line) as Question
  let nowMs = 0
  const handlers = ALGORITHMS[algorithm]?.(camelCased(options), { now: () => nowMs })
  const results = steps.map((step) => {
    const handle = handlers?.[step.do]
    if (!handle) throw new Error(`${algorithm} has no ${step.do}`)
    nowMs = step.at_ms
    return handle(step)
  })
  return JSON.stringify(results)
}

const nothing = (_: unknown): null => null

function repeat<T>({ times = 1 }: Step, action: () => T): T[] {
  return Array.from({ length: Number(times) }, action)
}

function camelCased(options: Options): Options {
  const camel = (name: string) => name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase())
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [camel(name), value]))
}
