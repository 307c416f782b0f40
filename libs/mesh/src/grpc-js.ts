import { checkRange } from '@docmesh/resilience'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { useDirectory } from './grpc-js/adapter.ts'
import { hedgedPaths, readContract } from './grpc-js/contract.ts'
import { createDirectory, type Directory, type DirectoryOptions } from './grpc-js/directory.ts'
import { joinMesh, type Mesh, type MeshOptions } from './mesh.ts'
import { type MeshViewRequest, meshView as viewOf } from './mesh-view.ts'

type JoinOptions = Omit<Partial<MeshOptions>, 'registryTargets'> & Pick<MeshOptions, 'registryTargets'>

interface CallLimits {
  /** Most time for a unary call to a docmesh service; a shorter deadline of the call holds. Default 5,000, to one day. */
  readonly unaryTimeoutMs?: number
  /** Time for one connection attempt. Default 5,000, 100 to 60,000. */
  readonly connectTimeoutMs?: number
  /**
   * Methods, `docmesh.document.v1.DocumentService/GetDocument`, of which a call that takes longer than their p95 is sent a
   * second time, elsewhere. Default none.
   */
  readonly hedge?: readonly string[]
}

/** How to join the mesh, or the one that this process has joined: a docmesh service has `mesh` in its context. */
export type MeshTargetOptions = CallLimits & (JoinOptions | { readonly mesh: Mesh })

const DAY_MS = 86_400_000

let installed: Directory | undefined

/**
 * Gives channels of @grpc/grpc-js the target `mesh:///<service>`: discovery, balancing, ejection, breaker, retries,
 * hedging and deadlines of the mesh for clients that know nothing of it. The mesh is joined with the first channel and
 * left when the last one is closed. Call the answer to take the target away from channels that are opened later.
 *
 * @throws Error if it is installed already: grpc-js has one `mesh:` for the process.
 * @throws RangeError if an option is out of range, or a method cannot be hedged.
 */
export function installMeshTarget({
  unaryTimeoutMs = 5_000,
  connectTimeoutMs = 5_000,
  hedge = [],
  ...rest
}: MeshTargetOptions): () => void {
  checkRange({ unaryTimeoutMs }, 1, DAY_MS)
  checkRange({ connectTimeoutMs }, 100, 60_000)
  const methodAt = readContract()
  const hedged = hedgedPaths(hedge, methodAt)
  if (installed) throw new Error('The mesh target is installed already.')
  const directory = createDirectory({
    ...membership(rest),
    methodAt,
    hedged,
    unaryTimeoutMs,
    connectTimeoutMs,
  })
  installed = directory
  useDirectory(directory)
  return () => {
    if (installed !== directory) return
    installed = undefined
    useDirectory(undefined)
  }
}

function membership(
  options: JoinOptions | { readonly mesh: Mesh },
): Pick<DirectoryOptions, 'join' | 'leave'> {
  if ('mesh' in options) return { join: () => options.mesh, leave() {} }
  const {
    logger = silentLogger,
    metrics = createMetrics({ service: 'mesh-target', version: '0', processMetrics: false }),
  } = options
  return { join: () => joinMesh({ ...options, logger, metrics }), leave: (mesh) => mesh.close() }
}

/**
 * What the `mesh:` channels of this process know and did, as DiagnosticsService.GetMeshView tells it of a service:
 * instances, breakers, ejections, and for recent calls who was picked, who lost, and what was refused and why. `limit`
 * is the most decisions and incidents, 0 to 1,000, default 50. `undefined` while there is no such channel.
 *
 * @throws RpcError INVALID_REQUEST when `limit` is out of range.
 */
export function meshView({ service = '', limit = 0 }: Partial<MeshViewRequest> = {}) {
  const mesh = installed?.mesh()
  return mesh && viewOf(mesh, { service, limit })
}
