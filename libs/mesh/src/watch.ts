import { randomUUID } from 'node:crypto'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { createBackoff } from '@docmesh/resilience'
import { type Client, type ClientTransport, createClient, sendOver } from '@docmesh/rpc'
import type { Logger } from '@docmesh/telemetry'
import { abortable } from './abortable.ts'
import { applyUpdate, EMPTY_MESH, type MeshState } from './snapshot.ts'
import type { SnapshotFile } from './snapshot-file.ts'

export interface WatchOptions {
  /** Registry replicas, `host:port`; the next one is tried when a watch breaks. */
  readonly targets: readonly string[]
  readonly transport: ClientTransport
  readonly logger: Logger
  readonly onState: (state: MeshState) => void
  /** The watch broke; the state stays what it was. */
  readonly onLost: () => void
  /** What was saved counts until a replica answers, and what they answer is saved. Default none. */
  readonly file?: Promise<SnapshotFile> | undefined
  /** A replica that takes longer to send its first answer is as good as down. Default 5,000. */
  readonly firstAnswerMs?: number
}

const ACKNOWLEDGE_TIMEOUT_MS = 1_000
/** How often a state that does not change is saved again, lest it looks too old to be used. */
const REFRESH_MS = 3_600_000
/** The life of a registry that a saved state comes from: none that could be resumed, but no beginner's either. */
const SAVED_EPOCH = 'saved'

/**
 * Follows the mesh until `signal` aborts. A broken watch resumes from its revision; a replica that does not know the
 * epoch sends everything. The last good state is kept while no replica answers, so calls go on with the registry down.
 * A state from disk has an epoch that nobody knows: a replica that has just started lets its watcher wait until the
 * instances had time to register, instead of answering with a mesh that is still empty.
 */
export async function followMesh(
  { targets, transport, logger, onState, onLost, file: opening, firstAnswerMs = 5_000 }: WatchOptions,
  signal: AbortSignal,
): Promise<void> {
  const delayMs = createBackoff({ initialMs: 50, maxMs: 2_000, jitter: 0.2 }, Math.random)
  const watcherId = randomUUID()
  const file = await opening
  const saved = await file?.load()
  let state = saved ?? EMPTY_MESH
  let failures = 0
  if (saved) onState(saved)
  for (let turn = 0; !signal.aborted; turn++) {
    const target = targets[turn % targets.length] as string
    const connection = transport.connect(target)
    const registry = createClient(RegistryServiceDefinition, sendOver(connection))
    const silent = new AbortController()
    const timeout = setTimeout(() => silent.abort(), firstAnswerMs).unref()
    const refresh = setInterval(() => file?.save(state), REFRESH_MS).unref()
    const { revision: fromRevision, savedAt } = state
    const epoch = savedAt ? SAVED_EPOCH : state.epoch
    try {
      const acknowledge = acknowledger(registry, watcherId, signal)
      const responses = registry.watch(
        { epoch, fromRevision, watcherId },
        { signal: AbortSignal.any([signal, silent.signal]) },
      )
      for await (const response of responses) {
        clearTimeout(timeout)
        failures = 0
        state = applyUpdate(state, response)
        onState(state)
        acknowledge(state)
        file?.save(state)
      }
    } catch (err) {
      if (!signal.aborted)
        logger[failures === 3 ? 'warn' : 'debug']({ err, target }, 'registry watch broke; trying again')
    } finally {
      clearTimeout(timeout)
      clearInterval(refresh)
      connection.close()
      onLost()
    }
    await abortable(delayMs(++failures), signal)
  }
  await file?.close()
}

/**
 * Tells the registry what has been applied, one call at a time: while one is on its way only the newest revision waits.
 * A failure is not repeated, for the next acknowledgement says the same and more.
 */
function acknowledger(
  registry: Client<typeof RegistryServiceDefinition>,
  watcherId: string,
  signal: AbortSignal,
): (state: MeshState) => void {
  let newest: MeshState | undefined
  let isBusy = false
  async function send(): Promise<void> {
    isBusy = true
    while (newest) {
      const { epoch, revision } = newest
      newest = undefined
      await registry
        .acknowledgeRevision({ watcherId, epoch, revision }, { signal, timeoutMs: ACKNOWLEDGE_TIMEOUT_MS })
        .catch(() => {})
    }
    isBusy = false
  }
  return (state) => {
    newest = state
    if (!isBusy) void send()
  }
}
