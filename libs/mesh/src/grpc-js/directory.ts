import { type Method, rpcError } from '@docmesh/rpc'
import type { Mesh } from '../mesh.ts'
import type { MeshDirectory } from './adapter.ts'
import { targetService } from './target-service.ts'

export interface DirectoryOptions {
  readonly join: () => Mesh
  readonly leave: (mesh: Mesh) => unknown
  readonly methodAt: (path: string) => Method
  readonly hedged: ReadonlySet<string>
  readonly unaryTimeoutMs: number
  readonly connectTimeoutMs: number
}

export interface Directory extends MeshDirectory {
  /** The mesh, while there is a channel to it. */
  mesh(): Mesh | undefined
}

/** The mesh as long as there is a channel to it: a watch that nobody needs would keep the process alive. */
interface Joined {
  readonly mesh: Mesh
  channels: number
}

/** How long calls wait for the first state of the mesh. */
const SYNC_TIMEOUT_MS = 5_000

/** The services of one mesh, which is joined with the first channel and left with the last. */
export function createDirectory({ join, leave, ...rest }: DirectoryOptions): Directory {
  let current: Joined | undefined

  function enter(): Joined {
    current ??= { mesh: join(), channels: 0 }
    current.channels += 1
    return current
  }

  function exit(joined: Joined): void {
    joined.channels -= 1
    if (joined.channels > 0) return
    current = undefined
    leave(joined.mesh)
  }

  return {
    ...rest,
    mesh: () => current?.mesh,
    follow(name, listener) {
      const joined = enter()
      const late = setTimeout(
        () => listener(rpcError('NO_ENDPOINT', 'The registry has not answered yet.')),
        SYNC_TIMEOUT_MS,
      ).unref()
      const service = targetService(name, joined.mesh.shared(name))
      let isFollowing = true
      const tell = (): void => {
        clearTimeout(late)
        if (isFollowing) listener(service)
      }
      const unsubscribe = joined.mesh.onUpdate(tell)
      void joined.mesh.synced.then(tell)
      return () => {
        isFollowing = false
        clearTimeout(late)
        unsubscribe()
        exit(joined)
      }
    },
  }
}
