import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Instance, TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { type Logger, silentLogger } from '@docmesh/telemetry'
import { eventually } from '@docmesh/testing'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MeshState } from './snapshot.ts'
import { createSnapshotFile, type SnapshotFileOptions } from './snapshot-file.ts'

let directory: string
let path: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'docmesh-snapshot-'))
  path = join(directory, 'test.mesh')
})
afterEach(() => rm(directory, { recursive: true }))

const NOW = 1_700_000_000_000
const DAY_MS = 86_400_000

const stateOf = (ids: readonly string[], revision = 7n): MeshState => ({
  epoch: 'e1',
  revision,
  instances: new Map(
    ids.map((instanceId) => [
      instanceId,
      Instance.fromPartial({ registration: { instanceId, service: 'document', address: 'h:1' } }),
    ]),
  ),
  policies: new Map([['document', TrafficPolicy.fromPartial({ service: 'document', etag: 'x' })]]),
})

/** A file, and the lines that it logs. */
function fileOf(options: Partial<SnapshotFileOptions> = {}) {
  const lines: string[] = []
  const logger: Logger = {
    ...silentLogger,
    warn: (_: object | string, message?: string) => void lines.push(message ?? ''),
  }
  return { file: createSnapshotFile({ path, logger, now: () => NOW, ...options }), lines }
}

async function saved(state: MeshState): Promise<Buffer> {
  const { file } = fileOf()
  file.save(state)
  await file.close()
  return readFile(path)
}

describe('a snapshot on disk', () => {
  it('gives back the instances and policies that were saved, and when, but nothing to resume from', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1 }), async (ids) => {
        const state = stateOf(ids)
        await saved(state)
        const loaded = await fileOf({ now: () => NOW + 5 }).file.load()
        expect(loaded).toEqual({ ...state, epoch: '', revision: 0n, savedAt: new Date(NOW) })
      }),
      { numRuns: 20 },
    )
  })

  it('is written by itself a while after a change, and holds the newest state', async () => {
    const { file } = fileOf({ delayMs: 20 })
    file.save(stateOf(['a']))
    file.save(stateOf(['b']))
    await eventually(async () => expect([...((await file.load())?.instances.keys() ?? [])]).toEqual(['b']))
    expect(await readdir(directory)).toEqual(['test.mesh'])
  })

  it('is made with its directory', async () => {
    const deep = join(directory, 'a', 'b', 'test.mesh')
    const { file } = fileOf({ path: deep })
    file.save(stateOf(['a']))
    await file.close()
    expect((await readFile(deep)).length).toBeGreaterThan(48)
  })

  it('is not replaced by an empty mesh', async () => {
    const before = await saved(stateOf(['a']))
    expect(await saved(stateOf([]))).toEqual(before)
  })

  it('that does not exist is nothing to speak of', async () => {
    const { file, lines } = fileOf()
    expect(await file.load()).toBeUndefined()
    expect(lines).toEqual([])
  })

  it('is not used when any byte of it is not what was written, or is missing', async () => {
    const bytes = await saved(stateOf(['a', 'b']))
    await fc.assert(
      fc.asyncProperty(
        fc.nat(bytes.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, bits, isCut) => {
          const damaged = isCut ? bytes.subarray(0, at) : Buffer.from(bytes)
          if (!isCut) damaged[at] = (damaged[at] ?? 0) ^ bits
          await writeFile(path, damaged)
          const { file, lines } = fileOf()
          expect(await file.load()).toBeUndefined()
          expect(lines).toEqual([
            'the saved snapshot of the mesh is not used: it is damaged or of another format',
          ])
        },
      ),
      { numRuns: 50 },
    )
  })

  it('is not used when it is whole but holds something else', async () => {
    const bytes = await saved(stateOf(['a']))
    const content = Buffer.concat([bytes.subarray(40, 48), Buffer.from('0f0f0f', 'hex')])
    const sum = createHash('sha256').update(content).digest()
    await writeFile(path, Buffer.concat([bytes.subarray(0, 8), sum, content]))
    const { file, lines } = fileOf()
    expect(await file.load()).toBeUndefined()
    expect(lines).toEqual(['the saved snapshot of the mesh is not used: it is damaged or of another format'])
  })

  it('is whole when several of one process write it at the same time', async () => {
    const ids = Array.from({ length: 2_000 }, (_, at) => `instance-${at}`)
    const files = Array.from({ length: 8 }, () => fileOf())
    for (const { file } of files) file.save(stateOf(ids))
    await Promise.all(files.map(({ file }) => file.close()))
    expect(files.flatMap(({ lines }) => lines)).toEqual([])
    expect((await fileOf().file.load())?.instances.size).toBe(ids.length)
    expect(await readdir(directory)).toEqual(['test.mesh'])
  })

  it('is not used when it is older than a day', async () => {
    await saved(stateOf(['a']))
    expect(await fileOf({ now: () => NOW + DAY_MS }).file.load()).toBeDefined()
    const { file, lines } = fileOf({ now: () => NOW + DAY_MS + 1 })
    expect(await file.load()).toBeUndefined()
    expect(lines).toEqual(['the saved snapshot of the mesh is not used: it is too old'])
  })

  it('that cannot be read is not used', async () => {
    const { file, lines } = fileOf({ path: directory })
    expect(await file.load()).toBeUndefined()
    expect(lines).toEqual(['the saved snapshot of the mesh cannot be read'])
  })

  it('that cannot be written is said once, until it can again', async () => {
    const occupied = join(directory, 'occupied')
    await writeFile(occupied, '')
    const { file, lines } = fileOf({ path: join(occupied, 'test.mesh') })
    const save = (): Promise<void> => {
      file.save(stateOf(['a']))
      return file.close()
    }
    await save()
    await save()
    expect(lines).toEqual(['the snapshot of the mesh cannot be saved'])
    await rm(occupied)
    await save()
    expect(await file.load()).toBeDefined()
  })
})
