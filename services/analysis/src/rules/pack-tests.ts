import { assess } from './assess.ts'
import { type CompiledPack, withRules } from './pack.ts'
import type { Severity } from './pack-schema.ts'
import { sampleDocument } from './sample-text.ts'

export interface PackTestResult {
  readonly ruleId: string
  readonly test: string
  readonly expected: readonly Severity[]
  readonly actual: readonly Severity[]
  readonly passed: boolean
}

/** Runs the tests that the rules of a pack carry, each through the whole engine with its rule alone. */
export const runPackTests = async (pack: CompiledPack): Promise<readonly PackTestResult[]> => {
  const results: PackTestResult[] = []
  for (const rule of pack.rules) {
    const alone = withRules(pack, [rule])
    for (const { name, text, today, expect, ...extra } of rule.tests) {
      const signals = extra.signals.map(({ kind, detail, page, start, end }) => ({
        kind,
        detail,
        ...(page !== undefined && { page }),
        ...(start !== undefined && { start }),
        ...(end !== undefined && { end }),
      }))
      const document = sampleDocument(text, { ...extra, signals })
      const { findings } = await assess([alone], document, { locale: 'pt-BR', today })
      const expected = expect.map(({ severity }) => severity)
      const actual = findings.map(({ severity }) => severity)
      const passed = expected.join() === actual.join()
      results.push({ ruleId: rule.id, test: name, expected, actual, passed })
    }
  }
  return results
}
