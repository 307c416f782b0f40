import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import {
  Instance,
  InstanceState,
  type MeshIncident,
  type RegisterResponse,
  type Registration,
  RegistryServiceDefinition,
  type TrafficPolicy,
  WatchResponse,
} from '@docmesh/contracts/registry/v1/registry'
import { durationOf, grpcJsServer, implement, msOf, type Reason, routesOf, rpcError } from '@docmesh/rpc'

export interface Heard {
  readonly said: 'registration' | 'heartbeat' | 'deregister' | 'drain'
  readonly instanceId: string
  readonly state: InstanceState | undefined
}

export interface RegistryFixtureOptions {
  readonly epoch?: string
  readonly address?: string
  readonly heartbeatMs?: number
  /** Time after which an instance that says nothing is delisted; default never. */
  readonly ttlMs?: number
  /** Reasons to refuse the first registrations with, one after the other. */
  readonly refusals?: readonly Reason[]
  /** Until then, who brings the state of another registry has to wait: instances are still to register. Default none has. */
  readonly settled?: Promise<void>
  /** What Drain does; default UNIMPLEMENTED. */
  readonly drain?: (instanceId: string) => Promise<void>
}

/** The native API of the registry on a real port: a list of instances, and an ear for what they say. */
export async function startRegistry({
  epoch = 'e1',
  address = '127.0.0.1:0',
  heartbeatMs = 60_000,
  ttlMs,
  refusals = [],
  settled,
  drain,
}: RegistryFixtureOptions = {}) {
  const instances = new Map<string, Instance>()
  const gone = new Map<string, bigint>()
  const policies = new Map<string, TrafficPolicy>()
  const heard: Heard[] = []
  /** Lags, tokens and incidents as they came, and instances that were silent for too long. */
  const lags: number[] = []
  const tokens: string[] = []
  const incidents: MeshIncident[] = []
  const expired: string[] = []
  const watches: { readonly epoch: string; readonly fromRevision: bigint; readonly watcherId: string }[] = []
  const acknowledged: { readonly watcherId: string; readonly epoch: string; readonly revision: bigint }[] = []
  const expiries = new Map<string, NodeJS.Timeout>()
  const streams = new Set<(response: Partial<RegisterResponse>) => void>()
  const wakers = new Set<() => void>()
  const closing = new AbortController()
  const refusing = refusals.values()
  let leases = 0
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
    clearTimeout(expiries.get(instanceId))
    if (instances.delete(instanceId)) gone.set(instanceId, ++revision)
    changed()
  }
  const putPolicy = (policy: TrafficPolicy): void => {
    policies.set(policy.service, { ...policy, revision: ++revision })
    changed()
  }
  const renew = (instanceId: string): void => {
    clearTimeout(expiries.get(instanceId))
    if (ttlMs === undefined) return
    const expire = (): void => {
      expired.push(instanceId)
      remove(instanceId)
    }
    expiries.set(instanceId, setTimeout(expire, ttlMs))
  }
  function updateSince(from: bigint | undefined): WatchResponse {
    const all = [...instances.values()]
    if (from === undefined)
      return WatchResponse.fromPartial({
        epoch,
        revision,
        update: { $case: 'snapshot', value: { instances: all, policies: [...policies.values()] } },
      })
    const value = {
      changedInstances: all.filter((instance) => instance.revision > from),
      removedInstanceIds: [...gone].filter(([, at]) => at > from).map(([id]) => id),
      changedPolicies: [...policies.values()].filter((policy) => policy.revision > from),
    }
    return WatchResponse.fromPartial({ epoch, revision, update: { $case: 'delta', value } })
  }

  const implementation = implement(RegistryServiceDefinition, {
    async *register(requests) {
      const answers: Partial<RegisterResponse>[] = []
      let wake = (): void => {}
      let ended = false
      const answer = (response: Partial<RegisterResponse>): void => {
        answers.push(response)
        wake()
      }
      let failure: unknown
      const listen = async (): Promise<void> => {
        let registration: Registration | undefined
        for await (const { message, leaseToken } of requests) {
          if (message?.$case === 'incident') incidents.push(message.value)
          if (message?.$case === 'registration') registration = message.value
          if (!registration || !message || message.$case === 'incident') continue
          const { instanceId } = registration
          heard.push({ said: message.$case, instanceId, state: message.value.state })
          if (registration.incarnation === 0n)
            throw rpcError('STALE_INCARNATION', 'A newer process has this id.')
          if (message.$case === 'registration') {
            tokens.push(leaseToken ?? '')
            const reason = refusing.next().value
            if (reason) throw rpcError(reason, 'The lease is held.')
          } else if (message.value.eventLoopLag) lags.push(msOf(message.value.eventLoopLag))
          put(registration, message.value.state)
          renew(instanceId)
          const ttl = durationOf(ttlMs ?? heartbeatMs)
          if (message.$case === 'registration')
            answer({
              message: {
                $case: 'lease',
                value: {
                  ttl,
                  heartbeatInterval: durationOf(heartbeatMs),
                  revision,
                  leaseToken: `${epoch}-${++leases}`,
                },
              },
            })
          else answer({ message: { $case: 'renewed', value: { ttl } } })
        }
      }
      streams.add(answer)
      void listen()
        .catch((error: unknown) => {
          failure = error
        })
        .finally(() => {
          ended = true
          wake()
        })
      try {
        while (!ended || answers.length > 0) {
          const next = answers.shift()
          if (next) yield next
          else
            await new Promise<void>((resolve) => {
              wake = resolve
            })
        }
        if (failure) throw failure
      } finally {
        streams.delete(answer)
      }
    },
    async deregister({ instanceId, leaseToken }) {
      heard.push({ said: 'deregister', instanceId, state: undefined })
      tokens.push(leaseToken ?? '')
      remove(instanceId)
      return {}
    },
    ...(drain && {
      async drain({ instanceId }: { instanceId: string }) {
        heard.push({ said: 'drain', instanceId, state: undefined })
        await drain(instanceId)
        return { revision, acknowledged: true }
      },
    }),
    async acknowledgeRevision({ watcherId, epoch, revision }) {
      acknowledged.push({ watcherId, epoch, revision })
      return {}
    },
    async *watch({ epoch: known, fromRevision, watcherId }, { signal }) {
      watches.push({ epoch: known, fromRevision, watcherId })
      if (known !== '' && known !== epoch) await settled
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
    lags,
    tokens,
    incidents,
    expired,
    watches,
    acknowledged,
    put,
    remove,
    putPolicy,
    /** Asks every instance that has a lease to do something. */
    command(command: 'drain' | 'reregister', graceMs?: number): void {
      const grace = graceMs === undefined ? undefined : durationOf(graceMs)
      for (const send of streams)
        send({
          message: {
            $case: 'command',
            value: {
              command:
                command === 'drain'
                  ? { $case: 'drain', value: { grace } }
                  : { $case: 'reregister', value: {} },
            },
          },
        })
    },
    stop(): Promise<void> {
      for (const timer of expiries.values()) clearTimeout(timer)
      closing.abort()
      return listener.close(0)
    },
  }
}

/** Takes connections and never says a word. */
export async function startSilence() {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => sockets.add(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop(): void {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
