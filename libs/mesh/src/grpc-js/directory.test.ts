import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { freePort } from '@docmesh/testing'
import { afterEach, expect, it, vi } from 'vitest'
import { joinMesh } from '../mesh.ts'
import { readContract } from './contract.ts'
import { createDirectory } from './directory.ts'

afterEach(() => {
  vi.useRealTimers()
})

it('says so when no registry has answered for 5 s', async () => {
  const port = await freePort()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const metrics = createMetrics({ service: 'test', version: '1', processMetrics: false })
  const directory = createDirectory({
    join: () => joinMesh({ registryTargets: [`127.0.0.1:${port}`], logger: silentLogger, metrics }),
    leave: (mesh) => mesh.close(),
    methodAt: readContract(),
    hedged: new Set(),
    unaryTimeoutMs: 5_000,
    connectTimeoutMs: 5_000,
  })
  const found: unknown[] = []
  const stop = directory.follow('document', (what) => found.push(what))
  vi.advanceTimersByTime(4_999)
  expect(found).toEqual([])
  vi.advanceTimersByTime(1)
  expect(found).toMatchObject([{ reason: 'NO_ENDPOINT', message: 'The registry has not answered yet.' }])
  stop()
})
