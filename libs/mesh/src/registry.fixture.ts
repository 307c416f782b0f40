import {
  Instance,
  InstanceState,
  type Registration,
  RegistryServiceDefinition,
  WatchResponse,
} from '@docmesh/contracts/registry/v1/registry'
import { grpcJsServer, implement, routesOf, rpcError } from '@docmesh/rpc'

export interface Heard {
  readonly said: 'registration' | 'heartbeat' | 'deregister'
  readonly instanceId: string
  readonly state: InstanceState | undefined
}

/** The native API of the registry on a real port: a list of instances, and an ear for what they say. */
export async function startRegistry({ epoch = 'e1', address = '127.0.0.1:0', heartbeatMs = 60_000 } = {}) {
  const instances = new Map<string, Instance>()
  const gone = new Map<string, bigint>()
  const heard: Heard[] = []
  const watches: { readonly epoch: string; readonly fromRevision: bigint }[] = []
  const wakers = new Set<() => void>()
  const closing = new AbortController()
  let revision = 0n

  const changed = (): void => {
    for (const wake of wakers) wake()
    wakers.clear()
  }
  const put = (registration: Partial<Registration>, state: InstanceState = InstanceState.SERVING): void => {
    const instance = Instance.fromPartial({ registration, state, revision: ++revision })
    instances.set(registration.instanceId ?? '', instance)
    changed()
  }
  const remove = (instanceId: string): void => {
    if (instances.delete(instanceId)) gone.set(instanceId, ++revision)
    changed()
  }
  function updateSince(from: bigint | undefined): WatchResponse {
    const all = [...instances.values()]
    if (from === undefined)
      return WatchResponse.fromPartial({
        epoch,
        revision,
        update: { $case: 'snapshot', value: { instances: all } },
      })
    const value = {
      changedInstances: all.filter((instance) => instance.revision > from),
      removedInstanceIds: [...gone].filter(([, at]) => at > from).map(([id]) => id),
    }
    return WatchResponse.fromPartial({ epoch, revision, update: { $case: 'delta', value } })
  }

  const implementation = implement(RegistryServiceDefinition, {
    async *register(requests) {
      let registration: Registration | undefined
      for await (const { message } of requests) {
        if (message?.$case === 'registration') registration = message.value
        if (!registration || !message) continue
        const { instanceId } = registration
        heard.push({ said: message.$case, instanceId, state: message.value.state })
        if (registration.incarnation === 0n)
          throw rpcError('STALE_INCARNATION', 'A newer process has this id.')
        put(registration, message.value.state)
        const heartbeatInterval = {
          seconds: BigInt(Math.floor(heartbeatMs / 1_000)),
          nanos: (heartbeatMs % 1_000) * 1e6,
        }
        if (message.$case === 'registration')
          yield { message: { $case: 'lease', value: { heartbeatInterval } } }
        else yield { message: { $case: 'renewed', value: { ttl: heartbeatInterval } } }
      }
    },
    async deregister({ instanceId }) {
      heard.push({ said: 'deregister', instanceId, state: undefined })
      remove(instanceId)
      return {}
    },
    async *watch({ epoch: known, fromRevision }, { signal }) {
      watches.push({ epoch: known, fromRevision })
      let from = known === epoch ? fromRevision : undefined
      const ended = AbortSignal.any([signal, closing.signal])
      while (!ended.aborted) {
        const update = updateSince(from)
        yield update
        from = update.revision
        if (from !== revision) continue
        await new Promise<void>((resolve) => {
          wakers.add(resolve)
          ended.addEventListener('abort', () => resolve())
        })
      }
    },
  })
  const listener = await grpcJsServer.listen(address, routesOf(implementation, []))
  return {
    address: listener.address,
    heard,
    watches,
    put,
    remove,
    stop(): Promise<void> {
      closing.abort()
      return listener.close(0)
    },
  }
}
