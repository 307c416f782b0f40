import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { answerLine } from './implementation.ts'
import { type Answer, checkVectors, loadVectors } from './vectors.ts'

const files = loadVectors()
const ours: Answer = (lines) => lines.map(answerLine)

test.each(files)('$algorithm: this library gives what is expected', (vectors) => {
  const report = checkVectors(vectors, ours)
  expect(report.failures).toEqual([])
  expect(report.checks).toBeGreaterThanOrEqual(report.cases)
})

describe('a check', () => {
  const [file] = files.filter(({ algorithm }) => algorithm === 'slow-start')
  if (!file) throw new Error('there is no slow-start.json')
  const { checks, cases } = checkVectors(file, ours)
  const altered = (alter: (value: number) => unknown): Answer => {
    return (lines) =>
      ours(lines).map((line) => JSON.stringify((JSON.parse(line) as number[]).map((value) => alter(value))))
  }

  test('forgives what is within the tolerance, and nothing beyond', () => {
    expect(
      checkVectors(
        file,
        altered((value) => value + 0.9e-9),
      ).failures,
    ).toEqual([])
    expect(
      checkVectors(
        file,
        altered((value) => value + 1.1e-9),
      ).failures,
    ).toHaveLength(checks)
  })

  test('does not take a text for the number in it', () => {
    expect(checkVectors(file, altered(String)).failures).toHaveLength(checks)
  })

  test.each([
    { what: 'silence', answer: () => [] },
    { what: 'a line that is no JSON', answer: (lines: readonly string[]) => lines.map(() => 'oops') },
    { what: 'too few results', answer: (lines: readonly string[]) => lines.map(() => '[]') },
  ])('fails each case at $what', ({ answer }) => {
    expect(checkVectors(file, answer).failures).toHaveLength(cases)
  })

  test('tells an implementation nothing of what it expects', () => {
    const seen: string[] = []
    checkVectors(file, (lines) => {
      seen.push(...lines)
      return []
    })
    expect(seen).toHaveLength(cases)
    expect(seen.join()).not.toContain('expect')
  })
})

describe('run.ts', () => {
  const run = `${import.meta.dirname}/run.ts`
  const check = (...args: string[]) => spawnSync(process.execPath, [run, ...args], { encoding: 'utf8' })

  test('checks a program in another process', () => {
    const { stdout, status } = check('success-ring', '--command', `"${process.execPath}" "${run}" --answer`)
    expect(stdout).toMatch(/^success-ring: \d+ cases, \d+ checks: ok\n$/)
    expect(status).toBe(0)
  })

  test('fails for a program that answers nothing', () => {
    const { stdout, status } = check('success-ring', '--command', 'exit 3')
    expect(stdout).toContain('success-ring: 6 cases, 19 checks: 6 failed')
    expect(status).toBe(1)
  })

  test('fails when there is nothing to check', () => {
    expect(check('no-such-algorithm').status).toBe(1)
  })
})
