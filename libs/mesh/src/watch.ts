import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { createBackoff } from '@docmesh/resilience'
import { type ClientTransport, type Connection, createClient, sendOver } from '@docmesh/rpc'
import type { Logger } from '@docmesh/telemetry'
import { abortable } from './abortable.ts'
import { applyUpdate, EMPTY_MESH, type MeshState } from './snapshot.ts'

export interface WatchOptions {
  /** Registry replicas, `host:port`; the next one is tried when a watch breaks. */
  readonly targets: readonly string[]
  readonly transport: ClientTransport
  readonly logger: Logger
  readonly onState: (state: MeshState) => void
  /** The watch broke; the state stays what it was. */
  readonly onLost: () => void
  /** A replica that takes longer to send its first answer is as good as down. Default 5,000. */
  readonly firstAnswerMs?: number
}

/**
 * Follows the mesh until `signal` aborts. A broken watch resumes from its revision; a replica that does not know the
 * epoch sends everything. The last good state is kept while no replica answers, so calls go on with the registry down.
 */
export async function followMesh(
  { targets, transport, logger, onState, onLost, firstAnswerMs = 5_000 }: WatchOptions,
  signal: AbortSignal,
): Promise<void> {
  const delayMs = createBackoff({ initialMs: 50, maxMs: 2_000, jitter: 0.2 }, Math.random)
  let state = EMPTY_MESH
  let failures = 0
  for (let turn = 0; !signal.aborted; turn++) {
    const target = targets[turn % targets.length] as string
    const connection = transport.connect(target)
    const silent = new AbortController()
    const timeout = setTimeout(() => silent.abort(), firstAnswerMs).unref()
    try {
      for await (const response of openWatch(connection, state, AbortSignal.any([signal, silent.signal]))) {
        clearTimeout(timeout)
        failures = 0
        state = applyUpdate(state, response)
        onState(state)
      }
    } catch (err) {
      if (!signal.aborted)
        logger[failures === 3 ? 'warn' : 'debug']({ err, target }, 'registry watch broke; trying again')
    } finally {
      clearTimeout(timeout)
      connection.close()
      onLost()
    }
    await abortable(delayMs(++failures), signal)
  }
}

function openWatch(connection: Connection, { epoch, revision }: MeshState, signal: AbortSignal) {
  const registry = createClient(RegistryServiceDefinition, sendOver(connection))
  return registry.watch({ epoch, fromRevision: revision }, { signal })
}
