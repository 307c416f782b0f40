import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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

describe('the state of the mesh on a data folder', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const writeText = (text: string): void => {
    mkdirSync(join(folder, 'mesh'))
    writeFileSync(join(folder, 'mesh', 'one.json'), text)
  }
  const write = (state: Partial<MeshState>): void => writeText(JSON.stringify(state))
  const ofAnother = {
    pid: process.ppid,
    birth: '',
    registry: '127.0.0.1:7400',
    startedAt: 'now',
    open: true,
  }
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

  it('is ignored when its pid has gone to a process that began at another time', () => {
    write({ ...ofAnother, birth: 'before the machine was restarted' })
    expect(readMeshState(folder)).toBeUndefined()
    expect(claimDataDir(folder, '127.0.0.1:1').kind).toBe('claimed')
  })

  it.each(['', '{', 'null', '{"pid":1}'])('is ignored when it holds %j', (text) => {
    writeText(text)
    expect(readMeshState(folder)).toBeUndefined()
  })

  it('is not taken from a mesh that lives', () => {
    write(ofAnother)
    expect(claimDataDir(folder, '127.0.0.1:1')).toEqual({ kind: 'held', holder: ofAnother })
    expect(readMeshState(folder)).toEqual(ofAnother)
  })

  it('is taken over from a dead mesh, opened to others when ready, and gone at the end', () => {
    write({ ...ofAnother, pid: DEAD_PID })
    const claim = claimDataDir(folder, '127.0.0.1:7455')
    if (claim.kind !== 'claimed') throw new Error('held by a dead process')
    const states = (): MeshState[] =>
      readdirSync(join(folder, 'mesh')).map((name) =>
        JSON.parse(readFileSync(join(folder, 'mesh', name), 'utf8')),
      )
    expect(states()).toMatchObject([{ pid: process.pid, registry: '127.0.0.1:7455', open: false }])
    claim.open()
    expect(states()).toMatchObject([{ pid: process.pid, open: true }])
    claim.release()
    expect(states()).toEqual([])
    expect(readdirSync(folder)).toEqual(['mesh'])
  })

  it('goes to one of several that find it dead at the same moment', async () => {
    const children = Array.from({ length: 4 }, () => fork(new URL('claim.fixture.ts', import.meta.url)))
    const claims = (dataDir: string): Promise<string[]> =>
      Promise.all(
        children.map(async (child) => {
          const answered = once(child, 'message')
          child.send(dataDir)
          return String((await answered)[0])
        }),
      )
    try {
      for (let round = 0; round < 150; round++) {
        const dataDir = join(folder, String(round))
        mkdirSync(join(dataDir, 'mesh'), { recursive: true })
        const dead = { ...ofAnother, pid: DEAD_PID }
        writeFileSync(join(dataDir, 'mesh', 'dead.json'), JSON.stringify(dead))
        expect((await claims(dataDir)).sort()).toEqual(['claimed', 'held', 'held', 'held'])
      }
    } finally {
      for (const child of children) child.kill()
    }
  })
})
