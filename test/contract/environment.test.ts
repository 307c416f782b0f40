import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { environmentDocPath, renderEnvironmentDoc } from './environment-doc.ts'

it('docs/environment.md says what the services read', () => {
  expect(readFileSync(environmentDocPath, 'utf8')).toBe(renderEnvironmentDoc())
})
