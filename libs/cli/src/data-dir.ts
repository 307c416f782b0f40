import { createHash, randomUUID } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const REPO_ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..')

export interface DataDirSource {
  readonly given?: string | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly uid: number | undefined
  readonly repoRoot?: string
}

/**
 * Where a local mesh keeps its data. PostgreSQL does not run as root, and the user it runs as instead may not enter a
 * private clone: so root's data is outside of it.
 */
export function dataDirOf({ given, env, uid, repoRoot = REPO_ROOT }: DataDirSource): string {
  const chosen = given ?? env.DOCMESH_HOME
  if (chosen) return resolve(chosen)
  if (uid !== 0) return join(repoRoot, '.docmesh')
  return join('/var/lib/docmesh', createHash('sha256').update(repoRoot).digest('hex').slice(0, 8))
}

/** What `mesh.json` says of the mesh that runs on a data folder. */
export interface MeshState {
  readonly pid: number
  readonly registry: string
  /** ISO 8601. */
  readonly startedAt: string
  /** True once others may use it: not while it starts, and never for `start --once`, which ends with its own job. */
  readonly open: boolean
}

const stateFile = (dataDir: string): string => join(dataDir, 'mesh.json')

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

const isState = (value: unknown): value is MeshState => {
  const { pid, registry, startedAt, open } = (value ?? {}) as Partial<MeshState>
  return (
    Number.isInteger(pid) &&
    typeof registry === 'string' &&
    typeof startedAt === 'string' &&
    typeof open === 'boolean'
  )
}

/** The mesh that runs on `dataDir`; undefined when there is none or its process is gone. */
export function readMeshState(dataDir: string): MeshState | undefined {
  try {
    const state: unknown = JSON.parse(readFileSync(stateFile(dataDir), 'utf8'))
    // In a container a new process often has the pid of the one that was killed.
    return isState(state) && state.pid !== process.pid && isAlive(state.pid) ? state : undefined
  } catch {
    return undefined
  }
}

export type Claim =
  | {
      readonly kind: 'claimed'
      /** Tells others that they may use the mesh. */
      open(): void
      release(): void
    }
  | { readonly kind: 'held'; readonly holder: MeshState }

const draftOf = (file: string, state: MeshState): string => {
  const draft = `${file}.${randomUUID()}`
  writeFileSync(draft, `${JSON.stringify(state, undefined, 2)}\n`)
  return draft
}

/** Takes `dataDir` for one mesh that listens on `registry`. The state file is complete at every moment. */
export function claimDataDir(dataDir: string, registry: string): Claim {
  mkdirSync(dataDir, { recursive: true })
  const file = stateFile(dataDir)
  const state = { pid: process.pid, registry, startedAt: new Date().toISOString(), open: false }
  const draft = draftOf(file, state)
  try {
    for (;;) {
      try {
        linkSync(draft, file)
        return {
          kind: 'claimed',
          open: () => renameSync(draftOf(file, { ...state, open: true }), file),
          release: () => rmSync(file, { force: true }),
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const holder = readMeshState(dataDir)
      if (holder) return { kind: 'held', holder }
      rmSync(file, { force: true })
    }
  } finally {
    rmSync(draft, { force: true })
  }
}
