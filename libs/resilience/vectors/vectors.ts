import { readdirSync, readFileSync } from 'node:fs'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

/** What is done or asked at one moment of virtual time; further members are its arguments. */
export type Step = { readonly at_ms: number; readonly do: string; readonly [argument: string]: Json }

/** One case as an implementation gets it: a line of JSON, with nothing expected. */
export type Question = {
  readonly algorithm: string
  readonly name: string
  readonly options: Readonly<Record<string, number | boolean>>
  readonly steps: readonly Step[]
}

type Case = Pick<Question, 'name' | 'steps'> & Partial<Pick<Question, 'options'>>

/** One file. The options of a case are added to those of the file. */
export type Vectors = {
  readonly algorithm: string
  readonly description: string
  readonly tolerance: number
  readonly options: Readonly<Record<string, number | boolean>>
  readonly cases: readonly Case[]
}

/** Takes questions, one a line, and gives one line for each: a JSON array with the result of each step, or null. */
export type Answer = (lines: readonly string[]) => readonly string[]

export type Report = {
  readonly algorithm: string
  readonly cases: number
  readonly checks: number
  readonly failures: readonly string[]
}

export function loadVectors(): Vectors[] {
  return readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => JSON.parse(readFileSync(`${import.meta.dirname}/${name}`, 'utf8')) as Vectors)
}

/** Asks every case of one file and compares what was expected of its steps. */
export function checkVectors({ algorithm, tolerance, options, cases }: Vectors, answer: Answer): Report {
  const lines = answer(cases.map((each) => JSON.stringify(questionOf(algorithm, options, each))))
  const failures = cases.flatMap(({ name, steps }, i) => {
    const results = parseResults(lines[i])
    if (results?.length !== steps.length)
      return [`${name}: expected ${steps.length} results, got ${lines[i] || 'nothing'}`]
    return steps.flatMap(({ expect, ...step }, at) =>
      expect === undefined || matchesWithin(tolerance, results[at], expect)
        ? []
        : [
            `${name}: step ${at + 1}, ${JSON.stringify(step)}: expected ${JSON.stringify(expect)}, got ${JSON.stringify(results[at])}`,
          ],
    )
  })
  const checks = cases.flatMap(({ steps }) => steps).filter(({ expect }) => expect !== undefined).length
  return { algorithm, cases: cases.length, checks, failures }
}

function questionOf(algorithm: string, options: Vectors['options'], each: Case): Question {
  const steps = each.steps.map(({ expect: _, ...step }) => step as Step)
  return { algorithm, name: each.name, options: { ...options, ...each.options }, steps }
}

function parseResults(line = ''): readonly unknown[] | undefined {
  try {
    const results: unknown = JSON.parse(line)
    return Array.isArray(results) ? results : undefined
  } catch {
    return undefined
  }
}

/** Numbers may differ by `tolerance × max(1, |expected|)`; all else is equal or not. */
function matchesWithin(tolerance: number, actual: unknown, expected: Json): boolean {
  if (typeof expected === 'number' && typeof actual === 'number') {
    return Math.abs(actual - expected) <= tolerance * Math.max(1, Math.abs(expected))
  }
  if (Array.isArray(expected) && Array.isArray(actual)) {
    return (
      actual.length === expected.length &&
      expected.every((item, i) => matchesWithin(tolerance, actual[i], item))
    )
  }
  return actual === expected
}
