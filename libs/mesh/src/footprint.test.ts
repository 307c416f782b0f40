import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

test('a client loads grpc-js and the protobuf codec: no logger, no exposition, no tracing and no threads', async () => {
  const program = fileURLToPath(new URL('footprint.fixture.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [program])
  const loaded: string[] = JSON.parse(stdout)
  const packages = loaded.filter((name) => !name.startsWith('node:'))
  expect(packages.toSorted()).toEqual(['@bufbuild/protobuf', '@grpc/grpc-js', '@js-sdsl/ordered-map'])
  expect(loaded).not.toContain('node:worker_threads')
  expect(loaded).not.toContain('node:fs/promises')
})
