import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { claimDataDir, dataDirOf, type MeshState, readMeshState } from './data-dir.ts'

describe('dataDirOf', () => {
  const repoRoot = '/home/ana/docmesh'

  it('is .docmesh in the clone for an ordinary user', () => {
    expect(dataDirOf({ env: {}, uid: 1000, repoRoot })).toBe('/home/ana/docmesh/.docmesh')
  })

  it('is outside of the clone for root, another folder for each clone', () => {
    const one = dataDirOf({ env: {}, uid: 0, repoRoot })
    expect(one).toMatch(/^\/var\/lib\/docmesh\/[0-9a-f]{8}$/)
    expect(dataDirOf({ env: {}, uid: 0, repoRoot: '/opt/docmesh' })).not.toBe(one)
  })

  it('is DOCMESH_HOME when that is set, and --data-dir before it', () => {
    const env = { DOCMESH_HOME: '/srv/mesh' }
    expect(dataDirOf({ env, uid: 0, repoRoot })).toBe('/srv/mesh')
    expect(dataDirOf({ given: '/srv/other', env, uid: 0, repoRoot })).toBe('/srv/other')
  })
})

describe('mesh.json', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const write = (state: Partial<MeshState>): void =>
    writeFileSync(join(folder, 'mesh.json'), JSON.stringify(state))
  const ofAnother = { pid: process.ppid, registry: '127.0.0.1:7400', startedAt: 'now', open: true }
  const DEAD_PID = 2 ** 22 + 1 // above what Linux gives to processes

  it('shows the mesh of a process that lives', () => {
    write(ofAnother)
    expect(readMeshState(folder)).toEqual(ofAnother)
  })

  it('is ignored when its process is dead', () => {
    write({ ...ofAnother, pid: DEAD_PID })
    expect(readMeshState(folder)).toBeUndefined()
  })

  it('is ignored when it carries the pid that this process got in a new container', () => {
    write({ ...ofAnother, pid: process.pid })
    expect(readMeshState(folder)).toBeUndefined()
  })

  it.each(['', '{', 'null', '{"pid":1}'])('is ignored when it holds %j', (text) => {
    writeFileSync(join(folder, 'mesh.json'), text)
    expect(readMeshState(folder)).toBeUndefined()
  })

  it('is not taken from a mesh that lives', () => {
    write(ofAnother)
    expect(claimDataDir(folder, '127.0.0.1:1')).toEqual({ kind: 'held', holder: ofAnother })
  })

  it('is taken over from a dead mesh, opened to others when ready, and gone at the end', () => {
    write({ ...ofAnother, pid: DEAD_PID })
    const claim = claimDataDir(folder, '127.0.0.1:7455')
    if (claim.kind !== 'claimed') throw new Error('held by a dead process')
    const state = (): MeshState => JSON.parse(readFileSync(join(folder, 'mesh.json'), 'utf8'))
    expect(state()).toMatchObject({ pid: process.pid, registry: '127.0.0.1:7455', open: false })
    claim.open()
    expect(state()).toMatchObject({ pid: process.pid, open: true })
    claim.release()
    expect(state).toThrow('ENOENT')
  })
})
