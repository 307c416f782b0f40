import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { problems } from '../../fixtures/checks.ts'
import { ExtractionError } from './extracted.ts'
import { removeLeftFolders } from './folders.ts'
import { createExtractionPool, type ExtractionPool, type ExtractionPoolOptions } from './pool.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url))
const workerPath = fileURLToPath(new URL('../../fixtures/hostile-worker.ts', import.meta.url))
const slowWorker = fileURLToPath(new URL('../../fixtures/slow-worker.ts', import.meta.url))
const orphaningParent = fileURLToPath(new URL('../../fixtures/orphaning-parent.ts', import.meta.url))
const path = fixture('sample-contract.txt')

let tmpDir: string
let pool: ExtractionPool

beforeEach(async () => {
  tmpDir = await mkdtemp(join(tmpdir(), 'pool-test-'))
})

afterEach(async () => {
  await pool.close()
  expect(await readdir(tmpDir)).toEqual([])
  await rm(tmpDir, { recursive: true })
})

function open(options: ExtractionPoolOptions = {}): ExtractionPool {
  pool = createExtractionPool({ tmpDir, ...options })
  return pool
}

const openHostile = (options: ExtractionPoolOptions = {}) => open({ workerPath, workers: 1, ...options })
const ask = (fileName: string, signal?: AbortSignal) =>
  pool.extract({ path, fileName, ...(signal ? { signal } : {}) })
const report = async () => JSON.parse((await ask('report')).text)

test('reads every format in warm children', async () => {
  open()
  const names = ['pdf', 'docx', 'html', 'md', 'txt'].map((extension) => `sample-contract.${extension}`)
  const all = await Promise.all(names.map((name) => pool.extract({ path: fixture(name), fileName: name })))
  for (const extracted of all) {
    expect(problems(extracted)).toEqual([])
    expect(extracted.text).toContain('CLÁUSULA PRIMEIRA – DO OBJETO')
  }
  expect(pool.stats()).toMatchObject({ processes: 2, busy: 0, completed: 5, failed: 0, lost: 0, recycled: 0 })
})

test('a document that cannot be read fails alone and its child goes on', async () => {
  open({ workers: 1 })
  const bomb = pool.extract({ path: fixture('bomb.docx') })
  const next = pool.extract({ path: fixture('sample-contract.pdf') })
  await expect(bomb).rejects.toMatchObject({ name: 'ExtractionError', failure: 'inflation_limit' })
  expect((await next).mediaType).toBe('application/pdf')
  expect(pool.stats()).toMatchObject({ processes: 1, completed: 1, failed: 1, lost: 0 })
})

test('passes its limits on', async () => {
  open({ workers: 1, maxPages: 1, maxBytes: 50_000 })
  await expect(pool.extract({ path: fixture('sample-contract.pdf') })).rejects.toMatchObject({
    failure: 'too_many_pages',
  })
  await expect(pool.extract({ path: fixture('bomb.docx') })).rejects.toMatchObject({ failure: 'too_large' })
  expect(() => createExtractionPool({ workers: 0 })).toThrow(RangeError)
})

test('a child sees no environment, has an empty folder and can neither write nor start programs', async () => {
  process.env.EXTRACTION_SECRET = 'x'
  openHostile()
  const seen = await report()
  delete process.env.EXTRACTION_SECRET
  expect(seen).toMatchObject({ writes: 'ERR_ACCESS_DENIED', starts: 'ERR_ACCESS_DENIED' })
  expect(seen.environment.filter((name: string) => !name.startsWith('NODE_CHANNEL'))).toEqual([
    'LANG',
    'TZ',
    'TMPDIR',
  ])
  expect(await readdir(seen.folder)).toEqual([])
  expect(join(seen.folder, '..')).toBe(tmpDir)
})

test('a child that hangs is killed when the time is up and replaced', async () => {
  openHostile({ wallMs: 1_000 })
  await expect(ask('spin')).rejects.toMatchObject({ failure: 'time_limit' })
  expect(pool.stats()).toMatchObject({ processes: 0, lost: 1 })
  expect((await report()).pid).toBeGreaterThan(0)
})

test.runIf(process.platform === 'linux')(
  'a child that burns its CPU time is killed before the wall time',
  async () => {
    openHostile({ wallMs: 25_000, cpuMs: 500 })
    const start = performance.now()
    await expect(ask('spin')).rejects.toMatchObject({ failure: 'time_limit' })
    expect(performance.now() - start).toBeLessThan(20_000)
  },
)

test.runIf(process.platform === 'linux')('a child that outgrows the memory cap is killed', async () => {
  openHostile({ memoryBytes: 256 * 1024 ** 2, cpuMs: 20_000 })
  await expect(ask('allocate')).rejects.toMatchObject({ failure: 'memory_limit' })
})

test.runIf(process.platform === 'linux')(
  'a child that grows while it is idle is replaced, and ends',
  async () => {
    openHostile({ memoryBytes: 512 * 1024 ** 2 })
    const { pid } = JSON.parse((await ask('swell')).text)
    const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
    await vi.waitFor(() => expect(resident()).toBeGreaterThan(256 * 1024), { timeout: 10_000 })
    expect((await report()).pid).not.toBe(pid)
    expect(pool.stats()).toMatchObject({ processes: 1, recycled: 1, lost: 0 })
  },
)

test('a child whose heap is exhausted fails as out of memory', async () => {
  openHostile({ memoryBytes: 2 ** 40 / 2 ** 13, cpuMs: 25_000 })
  await expect(ask('heap')).rejects.toMatchObject({ failure: 'memory_limit' })
})

test('a child that exits by itself fails its document as crashed', async () => {
  openHostile()
  await expect(ask('exit')).rejects.toMatchObject({ failure: 'crashed' })
  expect(pool.stats()).toMatchObject({ lost: 1 })
})

test('other documents go on beside one that hangs', async () => {
  openHostile({ workers: 2 })
  const stop = new AbortController()
  const hanging = ask('spin', stop.signal)
  const pids = [await report(), await report()].map(({ pid }) => pid)
  expect(pids[0]).toBe(pids[1])
  expect(pool.stats()).toMatchObject({ processes: 2, busy: 1 })
  const reason = new Error('no longer wanted')
  stop.abort(reason)
  await expect(hanging).rejects.toBe(reason)
})

test('aborting takes waiting documents out of the queue and leaves the others in order', async () => {
  openHostile()
  const stopFirst = new AbortController()
  const stopThird = new AbortController()
  const order: string[] = []
  const first = ask('spin', stopFirst.signal)
  const second = ask('second').then(() => order.push('second'))
  const third = ask('third', stopThird.signal)
  const fourth = ask('fourth').then(() => order.push('fourth'))
  expect(pool.stats()).toMatchObject({ busy: 1, queued: 3 })
  stopThird.abort(new Error('third'))
  await expect(third).rejects.toThrow('third')
  expect(pool.stats()).toMatchObject({ queued: 2 })
  stopFirst.abort(new Error('first'))
  await expect(first).rejects.toThrow('first')
  await Promise.all([second, fourth])
  expect(order).toEqual(['second', 'fourth'])
  await expect(ask('fifth', AbortSignal.abort(new Error('fifth')))).rejects.toThrow('fifth')
})

test('a child is replaced after its share of documents', async () => {
  openHostile({ recycleAfter: 2 })
  const pids = [await report(), await report(), await report()].map(({ pid }) => pid)
  expect(pids[0]).toBe(pids[1])
  expect(pids[2]).not.toBe(pids[1])
  expect(pool.stats()).toMatchObject({ recycled: 1, lost: 0 })
})

test('a file that is not there is a system error', async () => {
  open()
  await expect(pool.extract({ path: `${path}.absent` })).rejects.toMatchObject({ code: 'ENOENT' })
})

test('a file that the child cannot read is a system error too, and no fault of the document', async () => {
  open({ workers: 1 })
  await expect(pool.extract({ path: tmpDir })).rejects.toMatchObject({ name: 'Error', code: 'EISDIR' })
  expect((await pool.extract({ path })).text).toContain('CLÁUSULA')
  expect(pool.stats()).toMatchObject({ processes: 1, completed: 1, failed: 1, lost: 0, recycled: 0 })
})

test('a document that is given to a child which was killed is read by another one', async () => {
  openHostile()
  const { pid } = await report()
  process.kill(pid, 'SIGKILL')
  expect((await report()).pid).not.toBe(pid)
  expect(pool.stats()).toMatchObject({ processes: 1, completed: 2, failed: 0, lost: 1 })
})

test('a child that cannot start is no fault of the document, and says why', async () => {
  open({ workers: 1, workerPath: `${workerPath}.absent` })
  const failed = await pool.extract({ path }).catch((error: unknown) => error)
  expect(failed).not.toBeInstanceOf(ExtractionError)
  expect(String(failed)).toContain('Cannot find module')
})

test('the time limit is for reading: what a child needs to start does not count', async () => {
  open({ workerPath: slowWorker, workers: 1, wallMs: 1_000, cpuMs: 1_000 })
  expect((await report()).pid).toBeGreaterThan(0)
  await expect(ask('spin')).rejects.toMatchObject({ failure: 'time_limit' })
})

test('a child whose folder cannot be removed fails its document, and the next one is read', async () => {
  openHostile()
  await report()
  await rename(tmpDir, `${tmpDir}.away`)
  await writeFile(tmpDir, '')
  await expect(ask('exit')).rejects.toMatchObject({ failure: 'crashed' })
  await rm(tmpDir)
  await rename(`${tmpDir}.away`, tmpDir)
  await report()
  await removeLeftFolders(tmpDir)
})

test('closing fails what runs and waits, and leaves no process', async () => {
  openHostile()
  const { pid } = await report()
  const running = expect(ask('spin')).rejects.toThrow('closed')
  const waiting = expect(ask('report')).rejects.toThrow('closed')
  await pool.close()
  await Promise.all([running, waiting])
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  await expect(ask('report')).rejects.toThrow('closed')
})

test.runIf(process.platform === 'linux')(
  'a child in a loop ends when its parent is killed, and its folder can be told from others',
  async () => {
    openHostile()
    const parent = spawn(process.execPath, [orphaningParent], {
      env: { TMPDIR: tmpDir },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(parent.stdout, 'data')
    const pid = Number(String(line))
    await vi.waitFor(() => expect(busyTicks(pid)).toBeGreaterThan(100), { timeout: 15_000 })
    parent.kill('SIGKILL')
    await vi.waitFor(() => expect(isRunning(pid)).toBe(false), { timeout: 10_000 })
    expect(await readdir(tmpDir)).toHaveLength(1)
    await removeLeftFolders(tmpDir)
  },
)

function statOf(pid: number): string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ')
  } catch {
    return undefined
  }
}

const isRunning = (pid: number) => !['Z', undefined].includes(statOf(pid)?.[0])
const busyTicks = (pid: number) => Number(statOf(pid)?.[11])
