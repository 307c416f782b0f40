import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { access, constants, copyFile, mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type RpcError, rpcError } from '@docmesh/rpc'

/** Contents of documents in a folder, each stored once under its SHA-256, and uploads on their way there. */
export interface Blobs {
  /** Begins an upload; only one with a key can be resumed. */
  stage(key: string | undefined): Promise<Staged>
  /** Goes on with what an interrupted upload left. A stream that still writes to it can no longer commit. */
  resume(key: string): Promise<Staged>
  /** Bytes that an interrupted upload left. */
  stagedBytes(key: string): Promise<number>
  /** Removes what streams of this upload left. */
  forget(key: string): Promise<void>
  has(sha256: string): Promise<boolean>
  path(sha256: string): string
  read(sha256: string, offset: number, chunkBytes: number): AsyncIterable<Buffer>
  remove(sha256: string): Promise<void>
  /** SHA-256 of everything stored, a folder at a time. */
  stored(): AsyncIterable<readonly string[]>
  /** When the last of its bytes came; undefined when it is not there. */
  storedAt(sha256: string): Promise<Date | undefined>
  /** Removes staged uploads that nobody wrote to since then. */
  sweep(before: Date): Promise<void>
  /** Rejects when the folder cannot be written. */
  probe(): Promise<void>
}

export interface Staged {
  readonly path: string
  /** Bytes written so far. */
  size(): number
  write(chunk: Uint8Array): Promise<void>
  /** SHA-256 of everything written, hexadecimal. */
  digest(): string
  /** Makes the content durable under its hash; a content that is there already stays. Repeating it changes nothing. */
  commit(): Promise<void>
  /** Closes the file and keeps it for a later resume. */
  keep(): Promise<void>
  discard(): Promise<void>
}

export async function openBlobs(folder: string): Promise<Blobs> {
  const staging = join(folder, 'staging')
  await mkdir(staging, { recursive: true })
  const path = (sha256: string): string => join(folder, sha256.slice(0, 2), sha256.slice(2, 4), sha256)
  const has = (sha256: string): Promise<boolean> => exists(path(sha256))
  const prefixOf = (key: string): string => `${createHash('sha256').update(key).digest('hex')}.`

  /** Each stream writes to a file of its own, so that two with one key never mix their bytes. */
  const begin = (key: string | undefined): string =>
    join(staging, `${key === undefined ? '' : prefixOf(key)}${randomUUID()}`)

  async function move(from: string, sha256: string): Promise<void> {
    const to = path(sha256)
    if (await exists(to)) return unlink(from)
    const folder = join(to, '..')
    const made = await mkdir(folder, { recursive: true })
    await rename(from, to)
    // A name is on the disk when its folder is; a document that is committed must not lose its content to a power cut.
    await flush(folder)
    if (made !== undefined) for (const parent of [folder, made]) await flush(join(parent, '..'))
  }

  /** Largest first. */
  async function stagedFiles(prefix: string): Promise<{ path: string; size: number; mtime: Date }[]> {
    const paths = (await readdir(staging)).filter((name) => name.startsWith(prefix))
    const found = await Promise.all(
      paths.map(async (name) => {
        const path = join(staging, name)
        const stats = await stat(path).catch(ignoreMissing)
        return stats ? [{ path, size: stats.size, mtime: stats.mtime }] : []
      }),
    )
    return found.flat().sort((a, b) => b.size - a.size)
  }

  return {
    has,
    path,
    stage: (key) => openStaged(begin(key), move),
    async resume(key) {
      const to = begin(key)
      const [left] = await stagedFiles(prefixOf(key))
      if (left) {
        await copyFile(left.path, to).catch(async (error) => {
          await rm(to, { force: true })
          unavailable(error)
        })
        await rm(left.path, { force: true })
      }
      return openStaged(to, move)
    },
    stagedBytes: async (key) => (await stagedFiles(prefixOf(key)))[0]?.size ?? 0,
    async forget(key) {
      for (const { path } of await stagedFiles(prefixOf(key))) await rm(path, { force: true })
    },
    read: (sha256, start, highWaterMark) => createReadStream(path(sha256), { start, highWaterMark }),
    remove: (sha256) => rm(path(sha256), { force: true }),
    async *stored() {
      for (const first of await foldersOf(folder))
        for (const second of await foldersOf(join(folder, first)))
          yield (await readdir(join(folder, first, second))).filter((name) => SHA256.test(name))
    },
    storedAt: async (sha256) => (await stat(path(sha256)).catch(ignoreMissing))?.mtime,
    async sweep(before) {
      for (const { path, mtime } of await stagedFiles('')) if (mtime < before) await rm(path, { force: true })
    },
    probe: () => access(staging, constants.W_OK),
  }
}

/** Windows opens no folder, and keeps names by itself. */
async function flush(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  await using handle = await open(folder)
  await handle.sync()
}

async function openStaged(
  path: string,
  move: (from: string, sha256: string) => Promise<void>,
): Promise<Staged> {
  const file = await open(path, 'a+').catch(unavailable)
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of file.createReadStream({ start: 0, autoClose: false })) {
    hash.update(chunk)
    size += chunk.length
  }
  let digest: string | undefined
  let committed: Promise<void> | undefined
  const staged: Staged = {
    path,
    size: () => size,
    async write(chunk) {
      await file.appendFile(chunk).catch(unavailable)
      hash.update(chunk)
      size += chunk.length
    },
    digest() {
      digest ??= hash.digest('hex')
      return digest
    },
    commit() {
      committed ??= (async () => {
        await file.sync().catch(unavailable)
        await file.close()
        await move(path, staged.digest()).catch(unavailable)
      })()
      return committed
    },
    keep: () => (size === 0 ? staged.discard() : file.close()),
    async discard() {
      await file.close()
      await rm(path, { force: true })
    },
  }
  return staged
}

const SHA256 = /^[0-9a-f]{64}$/

const foldersOf = async (folder: string): Promise<string[]> =>
  (await readdir(folder)).filter((name) => /^[0-9a-f]{2}$/.test(name))

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

function ignoreMissing({ code }: NodeJS.ErrnoException): undefined {
  if (code !== 'ENOENT') throw new Error(`The blob store cannot be read (${code}).`)
}

/** Why a blob cannot be written, as callers are told. */
export function storageError(cause: NodeJS.ErrnoException): RpcError {
  if (cause.code === 'ENOSPC' || cause.code === 'EDQUOT')
    return rpcError('STORAGE_FULL', 'The blob store has no room for this.', {
      quota: { subject: 'blob store', description: 'no room' },
      cause,
    })
  return rpcError('STORAGE_UNAVAILABLE', `The blob store cannot write (${cause.code ?? 'unknown'}).`, {
    cause,
  })
}

function unavailable(cause: NodeJS.ErrnoException): never {
  throw storageError(cause)
}
