import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { scriptedMesh } from './scripted-mesh.fixture.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

test('calls that fail while no registry has ever answered leave nothing behind', async () => {
  const never = new Promise<void>(() => {})
  const { client } = scriptedMesh({ endpoints: [], script: () => 'ok', synced: never })
  const call = () => client().getDocument({}, { timeoutMs: 1 })
  async function heapAfter(calls: number): Promise<number> {
    for (let made = 0; made < calls; made += 1_000)
      await Promise.allSettled(Array.from({ length: 1_000 }, call))
    collect()
    return process.memoryUsage().heapUsed
  }
  const before = await heapAfter(1_000)
  const calls = 20_000
  expect(((await heapAfter(calls)) - before) / calls).toBeLessThan(100) // bytes
})
