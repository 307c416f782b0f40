import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { docmesh, testIo } from '../testing.fixture.ts'
import { batchWorld } from './batch.fixture.ts'

let folder: string
let world: ReturnType<typeof batchWorld>
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
  world = batchWorld()
  const io = () => testIo({ env: { XDG_STATE_HOME: join(folder, 'state') } })
  for (const [name, content] of [
    ['a.txt', 'score 20'],
    ['b.txt', 'score 80'],
    ['c.txt', 'secret'],
  ] as const) {
    writeFileSync(join(folder, name), content)
    await docmesh(['batch', folder, '--name', `with ${name}`], { services: world.services, io: io() })
  }
})
afterEach(() => rmSync(folder, { recursive: true }))

const batches = (...args: string[]) => docmesh(['batches', ...args], world)

it('lists batches, page by page', async () => {
  const { out, err } = await batches('list')
  expect(out).toMatch(/^ID +NAME +STATE +ENDED +FAILED +MEAN SCORE +CREATED \(UTC\)\n/)
  expect(out).toMatch(/\nb-2 +with b\.txt +completed +2\/2 +0 +50\.0 +2026-05-04 03:02:01\n/)
  expect(err).toBe('more: --page-token 2\n')
  const next = await batches('list', '--page-token', '2', '--json')
  expect(JSON.parse(next.out)).toMatchObject({ batches: [{ id: 'b-3', state: 'BATCH_STATE_PARTIAL' }] })
})

it('shows a batch with its worst documents and failures', async () => {
  const { exitCode, out } = await batches('show', 'b-3', '--locale', 'pt-BR')
  expect(exitCode).toBe(0)
  expect(out).toContain('batch b-3 “with c.txt”: partial\n3 documents: 2 completed, 1 failed, 0 cancelled\n')
  expect(out).toMatch(/\n20 +NÃO CONFORME +a\.txt\n80 +CONFORME +b\.txt\n/)
  expect(out).toMatch(/\nc\.txt +The file is encrypted\.\n/)
  const { out: json } = await batches('show', 'b-3', '--json')
  expect(JSON.parse(json).documents).toHaveLength(3)
})

it('watches a batch to its end', async () => {
  const { exitCode, out, err } = await batches('watch', 'b-1')
  expect(exitCode).toBe(0)
  expect(err).toMatch(/^analysed 0\/1\nanalysed 1\/1.*\n$/)
  expect(out).toContain('batch b-1 “with a.txt”: completed')
})

it('cancels a batch', async () => {
  const { exitCode, out } = await batches('cancel', 'b-2')
  expect({ exitCode, out }).toEqual({
    exitCode: 0,
    out: 'cancelled 2 of batch b-2; 0 completed and 0 failed before\n',
  })
  expect(world.batches[1]?.cancelled).toBe(true)
})

it('ends with 2 for a batch that is not there', async () => {
  for (const command of ['show', 'watch', 'cancel'])
    expect(await batches(command, 'b-9')).toMatchObject({
      exitCode: 2,
      err: 'docmesh: No batch has the id "b-9" (Check the id; `docmesh batches list` shows the batches)\n',
    })
})
