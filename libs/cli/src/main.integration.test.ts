import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { InstanceState } from '@docmesh/contracts/registry/v1/registry'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { serve } from './testing.fixture.ts'

const MAIN = join(import.meta.dirname, 'main.ts')
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

it('ends with 5 and says so when its output cannot be written', async () => {
  const script = 'ulimit -f 0; exec "$0" "$1" completion bash > "$2"'
  const child = spawn('sh', ['-c', script, process.execPath, MAIN, join(folder, 'out')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const [err, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  expect({ code, err }).toEqual({
    code: 5,
    err: expect.stringMatching(/^docmesh: cannot write the output: EFBIG/),
  })
})

it('ends with 0 and in silence when the reader of its output has seen enough', async () => {
  const { promise: goOn, resolve: hasLeft } = Promise.withResolvers<void>()
  const changed = (instanceId: string) => ({
    registration: { service: 'document', instanceId, address: '127.0.0.1:1' },
    state: InstanceState.SERVING,
  })
  const registry = await serve({
    registry: {
      getStatus: async () => ({}),
      async *watch(_, { signal }) {
        yield { update: { $case: 'snapshot', value: { instances: [changed('d-1')], policies: [] } } }
        await goOn
        for (let number = 2; !signal.aborted; number++)
          yield {
            update: { $case: 'snapshot', value: { instances: [changed(`d-${number}`)], policies: [] } },
          }
      },
    },
  })
  const child = spawn(process.execPath, [MAIN, 'mesh', 'watch', '--registry', registry.address], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = Promise.all([text(child.stderr), once(child, 'exit')])
  await once(child.stdout, 'data')
  child.stdout.destroy()
  hasLeft()
  const [err, [code]] = await ended
  await registry.close(0)
  expect({ code, err }).toEqual({ code: 0, err: '' })
})
