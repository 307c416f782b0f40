import { execFileSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
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

/** What a data folder says of the mesh that runs on it. */
export interface MeshState {
  readonly pid: number
  /** When that process began, in the words of the system: pids are used again. Empty where the system does not tell. */
  readonly birth: string
  readonly registry: string
  /** ISO 8601. */
  readonly startedAt: string
  /** True once others may use it: not while it starts, and never for `start --once`, which ends with its own job. */
  readonly open: boolean
}

/**
 * Has one file, the state of the mesh, under a name that no other mesh uses. A folder with something in it cannot be
 * replaced, and who removes what a dead mesh left names its file: so nobody takes away what another has just claimed.
 */
const stateFolder = (dataDir: string): string => join(dataDir, 'mesh')

/** When a process began; undefined when the system does not tell, as of one that has ended. */
function birthOf(pid: number): string | undefined {
  try {
    if (process.platform !== 'linux')
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim()
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    // The name of the program may have spaces; starttime is the 20th field after it (proc_pid_stat(5)).
    const [, fields = ''] = /^.*\) (.*)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    return `${boot} ${fields.split(' ')[19]}`
  } catch {
    return undefined
  }
}

function isAlive({ pid, birth }: MeshState): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  const now = birthOf(pid)
  return birth === '' || now === undefined || now === birth
}

const isState = (value: unknown): value is MeshState => {
  const { pid, birth, registry, startedAt, open } = (value ?? {}) as Partial<MeshState>
  return (
    Number.isInteger(pid) &&
    typeof birth === 'string' &&
    typeof registry === 'string' &&
    typeof startedAt === 'string' &&
    typeof open === 'boolean'
  )
}

/** Undefined when the file is gone or tells of a process that is. */
function readState(file: string): MeshState | undefined {
  try {
    const state: unknown = JSON.parse(readFileSync(file, 'utf8'))
    // In a container a new process often has the pid of the one that was killed.
    return isState(state) && state.pid !== process.pid && isAlive(state) ? state : undefined
  } catch {
    return undefined
  }
}

function stateFiles(dataDir: string): string[] {
  try {
    return readdirSync(stateFolder(dataDir)).map((name) => join(stateFolder(dataDir), name))
  } catch {
    return []
  }
}

/** The mesh that runs on `dataDir`; undefined when there is none or its process is gone. */
export function readMeshState(dataDir: string): MeshState | undefined {
  return stateFiles(dataDir)
    .map(readState)
    .find((state) => state !== undefined)
}

export type Claim =
  | {
      readonly kind: 'claimed'
      /** Tells others that they may use the mesh. */
      open(): void
      release(): void
    }
  | { readonly kind: 'held'; readonly holder: MeshState }

/** Takes `dataDir` for one mesh that listens on `registry`. Its state is complete at every moment. */
export function claimDataDir(dataDir: string, registry: string): Claim {
  const { pid } = process
  const name = `${randomUUID()}.json`
  const draft = join(dataDir, `mesh-${name}`)
  const folder = stateFolder(dataDir)
  const startedAt = new Date().toISOString()
  const write = (file: string, open: boolean): void => {
    const state: MeshState = { pid, birth: birthOf(pid) ?? '', registry, startedAt, open }
    writeFileSync(file, `${JSON.stringify(state, undefined, 2)}\n`)
  }
  mkdirSync(draft, { recursive: true })
  try {
    write(join(draft, name), false)
    while (!moved(draft, folder)) {
      for (const file of stateFiles(dataDir)) {
        const holder = readState(file)
        if (holder) return { kind: 'held', holder }
        rmSync(file, { force: true })
      }
    }
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
  return {
    kind: 'claimed',
    open() {
      write(draft, true)
      renameSync(draft, join(folder, name))
    },
    release: () => rmSync(join(folder, name), { force: true }),
  }
}

/** False when there is a folder already that is not empty. */
function moved(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}
