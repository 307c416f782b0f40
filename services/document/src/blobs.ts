import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { access, constants, mkdir, open, rename, rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { rpcError } from '@docmesh/rpc'

/** Contents of documents in a folder, each stored once under its SHA-256, and uploads on their way there. */
export interface Blobs {
  /** Opens the staged upload of `key`, keeping what an interrupted one left; without a key it is new and private. */
  stage(key: string | undefined): Promise<Staged>
  /** Bytes that an interrupted upload left. */
  stagedBytes(key: string): Promise<number>
  has(sha256: string): Promise<boolean>
  path(sha256: string): string
  read(sha256: string, offset: number, chunkBytes: number): AsyncIterable<Buffer>
  remove(sha256: string): Promise<void>
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
  const stagingPath = (key: string): string => join(staging, createHash('sha256').update(key).digest('hex'))
  const has = (sha256: string): Promise<boolean> => exists(path(sha256))

  return {
    has,
    path,
    async stage(key) {
      return openStaged(
        key === undefined ? join(staging, randomUUID()) : stagingPath(key),
        async (from, sha256) => {
          const to = path(sha256)
          if (await exists(to)) return unlink(from)
          await mkdir(join(to, '..'), { recursive: true })
          await rename(from, to)
        },
      )
    },
    stagedBytes: (key) =>
      stat(stagingPath(key)).then(
        ({ size }) => size,
        () => 0,
      ),
    read: (sha256, start, highWaterMark) => createReadStream(path(sha256), { start, highWaterMark }),
    remove: (sha256) => rm(path(sha256), { force: true }),
    probe: () => access(staging, constants.W_OK),
  }
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
    keep: () => file.close(),
    async discard() {
      await file.close()
      await rm(path, { force: true })
    },
  }
  return staged
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

function unavailable(cause: NodeJS.ErrnoException): never {
  throw rpcError('STORAGE_UNAVAILABLE', `The blob store cannot write (${cause.code ?? 'unknown'}).`, {
    cause,
  })
}
