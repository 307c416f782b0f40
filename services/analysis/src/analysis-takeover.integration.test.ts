import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { AnalysisState } from '@docmesh/contracts/analysis/v1/analysis'
import { eventually, type TestDatabase, testDatabase } from '@docmesh/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ended, get, isRunning, openSaga, type Saga, start, TEXT, types } from './saga.fixture.ts'
import type { Instance } from './world.fixture.ts'

let database: TestDatabase
let saga: Saga
/** Answers calls and runs nothing. */
let service: Instance
const processes = new Set<ChildProcess>()
beforeEach(async () => {
  database = await testDatabase()
  saga = await openSaga(database)
  service = await saga.instance({ concurrency: 0 })
})
afterEach(async () => {
  for (const each of processes) each.kill('SIGKILL')
  processes.clear()
  await saga[Symbol.asyncDispose]()
})

interface Worker {
  readonly process: ChildProcess
  /** Resolves when it has logged this. */
  logged(words: string): Promise<void>
}

/** An instance in a process of its own, which may be killed and frozen. */
async function startWorker(): Promise<Worker> {
  const fixture = fileURLToPath(new URL('./instance.fixture.ts', import.meta.url))
  const child = spawn(process.execPath, [fixture, database.url, saga.library.address], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  processes.add(child)
  const log: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line))
  const exited = once(child, 'exit').then(([code]) => {
    throw new Error(`the instance ended with ${code}: ${log.join('\n')}`)
  })
  exited.catch(() => {}) // a test may have killed it
  const logged = (words: string): Promise<void> =>
    eventually(
      () => {
        if (!log.some((line) => line.includes(words))) throw new Error(`"${words}" was not logged`)
      },
      { timeoutMs: 30_000 },
    )
  await Promise.race([logged('"up"'), exited])
  return { process: child, logged }
}

const happened = async (id: string): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {}
  for (const type of await types(service, id)) counts[type ?? ''] = (counts[type ?? ''] ?? 0) + 1
  return counts
}
/** What TEXT gives rise to. */
const ONCE = { AnalysisQueued: 1, AnalysisStarted: 1, AnalysisProgressUpdated: 2, AnalysisCompleted: 1 }

it('ends an analysis whose instance was killed in the middle of a step, and tells of each thing once', async () => {
  const first = await startWorker()
  const { documentId, release } = saga.held()
  const id = await start(service, documentId)
  await isRunning(service, id)
  await startWorker()
  first.process.kill('SIGKILL')
  await eventually(() => expect(saga.library.asked()).toBe(2), { timeoutMs: 20_000 })
  release()
  expect((await ended(service, id)).state).toBe(AnalysisState.COMPLETED)
  expect(await happened(id)).toMatchObject(ONCE)
})

it('lets an instance that was frozen and taken over from change nothing when it comes back', async () => {
  const frozen = await startWorker()
  const { documentId, release } = saga.held()
  const id = await start(service, documentId)
  await isRunning(service, id)
  await startWorker()
  frozen.process.kill('SIGSTOP')
  await eventually(() => expect(saga.library.asked()).toBe(2), { timeoutMs: 20_000 })
  release()
  const done = await ended(service, id)
  expect(done.state).toBe(AnalysisState.COMPLETED)
  const told = await types(service, id)
  frozen.process.kill('SIGCONT')
  await frozen.logged('other nodes took over')
  const next = await start(service, saga.library.put(TEXT))
  await ended(service, next)
  expect(await get(service, id)).toEqual(done)
  expect(await types(service, id)).toEqual(told)
})

it('completes each of many analyses once, though one of two instances is killed among them', async () => {
  const [first] = await Promise.all([startWorker(), startWorker()])
  const ids = await Promise.all(
    Array.from({ length: 60 }, (_, index) => start(service, saga.library.put(`${TEXT}\n${index}\n`))),
  )
  await eventually(async () => {
    const { analyses } = await service.client.listAnalyses({ states: [AnalysisState.COMPLETED] })
    expect(analyses.length).toBeGreaterThan(5)
  })
  first?.process.kill('SIGKILL')
  for (const id of ids) {
    expect((await ended(service, id)).state).toBe(AnalysisState.COMPLETED)
    const { findings } = await service.client.listFindings({ analysisId: id })
    const grave = findings.filter(({ severity }) => severity >= 3).length
    expect(await happened(id)).toEqual({ ...ONCE, ...(grave > 0 && { ProblemDetected: grave }) })
  }
}, 60_000)
