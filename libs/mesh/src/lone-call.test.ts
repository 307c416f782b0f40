import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

test('a process that waits for nothing but its call does not end before it, with the registry down', async () => {
  const program = fileURLToPath(new URL('lone-call.fixture.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [program])
  expect(stdout).toBe('NO_ENDPOINT')
})
