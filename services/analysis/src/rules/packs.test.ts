import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { loadPacks } from './pack.ts'
import { runPackTests } from './pack-tests.ts'

const packs = await loadPacks(fileURLToPath(new URL('../../packs', import.meta.url)))

describe.each([...packs.values()])('$id', (pack) => {
  it('passes the tests that its rules carry', async () => {
    const results = await runPackTests(pack)
    expect(results.filter(({ passed }) => !passed)).toEqual([])
    expect(results.length).toBeGreaterThanOrEqual(2 * pack.rules.length)
  })

  it('says everything in Portuguese and in English', () => {
    const texts = pack.rules.flatMap(({ title, message, remediation }) => [title, message, remediation])
    expect(texts.filter((text) => text['pt-BR'] === text.en)).toEqual([])
  })
})
