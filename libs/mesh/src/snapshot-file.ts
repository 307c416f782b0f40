import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { WatchResponse } from '@docmesh/contracts/registry/v1/registry'
import { checkRange } from '@docmesh/resilience'
import type { Logger } from '@docmesh/telemetry'
import { applyUpdate, EMPTY_MESH, type MeshState } from './snapshot.ts'

/** The last good state of the mesh on disk, so that a process can start while the registry is down. */
export interface SnapshotFile {
  /** What was saved; undefined if there is nothing that can be used. Never rejects. */
  load(): Promise<MeshState | undefined>
  /** Takes note of a state; the newest one is written a while later. */
  save(state: MeshState): void
  /** Writes what is not written yet. Never rejects. */
  close(): Promise<void>
}

export interface SnapshotFileOptions {
  readonly path: string
  readonly logger: Logger
  /** Time from a change to its write. Default 1,000, 0 to 60,000. */
  readonly delayMs?: number
  /** What is older than this is not used. Default one day. */
  readonly maxAgeMs?: number
  /** Epoch milliseconds. */
  readonly now?: () => number
}

/** Eight bytes: the last one is the version of the format. */
const MAGIC = Buffer.from('DOCMESH\x01', 'latin1')
const CHECKSUM_BYTES = 32
const TIME_BYTES = 8
const TIME_AT = MAGIC.length + CHECKSUM_BYTES
const BODY_AT = TIME_AT + TIME_BYTES

/**
 * The file: magic, SHA-256 of all that follows, epoch milliseconds (64 bits, big-endian), a WatchResponse with the
 * snapshot. It is replaced by renaming, so a reader or a crash meets a whole one, and processes may share it.
 */
export function createSnapshotFile({
  path,
  logger,
  delayMs = 1_000,
  maxAgeMs = 86_400_000,
  now = Date.now,
}: SnapshotFileOptions): SnapshotFile {
  checkRange({ delayMs }, 0, 60_000)
  checkRange({ maxAgeMs }, 1, Number.MAX_SAFE_INTEGER)
  let unsaved: MeshState | undefined
  let timer: NodeJS.Timeout | undefined
  let writing = Promise.resolve()
  let isFailing = false

  async function write(): Promise<void> {
    const state = unsaved
    if (!state) return
    unsaved = undefined
    try {
      await replace(path, encodeFile(state, now()))
      isFailing = false
    } catch (err) {
      if (!isFailing) logger.warn({ err, path }, 'the snapshot of the mesh cannot be saved')
      isFailing = true
    }
  }

  function flush(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    writing = writing.then(write)
    return writing
  }

  return {
    async load() {
      let bytes: Buffer
      try {
        bytes = await readFile(path)
      } catch (err) {
        if ((err as NodeJS.ErrnoException).code !== 'ENOENT')
          logger.warn({ err, path }, 'the saved snapshot of the mesh cannot be read')
        return undefined
      }
      const saved = decodeFile(bytes)
      const ageMs = saved && now() - saved.savedAt.getTime()
      if (ageMs !== undefined && ageMs <= maxAgeMs) return saved
      const why = ageMs === undefined ? 'it is damaged or of another format' : 'it is too old'
      logger.warn({ path, ageMs }, `the saved snapshot of the mesh is not used: ${why}`)
      return undefined
    },
    save(state) {
      if (state.instances.size === 0) return // of no use to a process that starts
      unsaved = state
      timer ??= setTimeout(() => void flush(), delayMs).unref()
    },
    close: flush,
  }
}

async function replace(path: string, bytes: Buffer): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp` // a process id is not unique among containers
  await mkdir(dirname(path), { recursive: true })
  try {
    const file = await open(temporary, 'w', 0o600)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

function encodeFile({ epoch, revision, instances, policies }: MeshState, savedAtMs: number): Buffer {
  const value = { instances: [...instances.values()], policies: [...policies.values()] }
  const snapshot = WatchResponse.fromPartial({ epoch, revision, update: { $case: 'snapshot', value } })
  const time = Buffer.alloc(TIME_BYTES)
  time.writeBigUInt64BE(BigInt(savedAtMs))
  const content = Buffer.concat([time, WatchResponse.encode(snapshot).finish()])
  return Buffer.concat([MAGIC, checksum(content), content])
}

/** The first answer of a registry replaces what was saved: it has no epoch to resume from. */
function decodeFile(bytes: Buffer): (MeshState & { readonly savedAt: Date }) | undefined {
  if (bytes.length < BODY_AT || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined
  const content = bytes.subarray(TIME_AT)
  if (!checksum(content).equals(bytes.subarray(MAGIC.length, TIME_AT))) return undefined
  const savedAt = new Date(Number(bytes.readBigUInt64BE(TIME_AT)))
  let snapshot: WatchResponse
  try {
    snapshot = WatchResponse.decode(bytes.subarray(BODY_AT))
  } catch {
    return undefined
  }
  const { instances, policies } = applyUpdate(EMPTY_MESH, snapshot)
  return { ...EMPTY_MESH, instances, policies, savedAt }
}

const checksum = (content: Uint8Array): Buffer => createHash('sha256').update(content).digest()
