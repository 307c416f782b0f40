import type { TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import { createBackoff } from '@docmesh/resilience'
import { rpcError } from '@docmesh/rpc'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { checkPolicy } from './policy.ts'
import type { PolicyStore } from './policy-store.ts'

/** The part of the registry that keeps the policies which are in force. */
export interface PolicyRegistry {
  policies(): readonly TrafficPolicy[]
  /** True until the policies were given for the first time. */
  policiesPending(): boolean
  replacePolicies(all: readonly TrafficPolicy[]): void
  members(): readonly { readonly service: string; readonly version: string }[]
  revision(): bigint
}

export interface PoliciesOptions {
  /** The store, as soon as the database has been reached; undefined where there is none. */
  readonly store: Promise<PolicyStore> | undefined
  readonly registry: PolicyRegistry
  readonly metrics: Metrics
  readonly logger: Logger
  readonly random: () => number
  /** Pause between two looks at the table when nobody tells of a change; default 30 000. */
  readonly rereadMs?: number
}

export interface Policies {
  /** Throws POLICY_NOT_FOUND, or DATABASE_UNAVAILABLE while the policies have not been read yet. */
  get(service: string): TrafficPolicy
  /** The policy as it is in force now. Throws INVALID_REQUEST, STALE_ETAG, POLICIES_NOT_CONFIGURED, DATABASE_UNAVAILABLE. */
  put(policy: TrafficPolicy, requestId: string): Promise<TrafficPolicy>
  /** The revision in which the policy is gone. Throws POLICIES_NOT_CONFIGURED, DATABASE_UNAVAILABLE. */
  delete(service: string): Promise<bigint>
  close(): Promise<void>
}

/**
 * The traffic policies: PostgreSQL has the truth, the registry's memory serves it, also while the database is away. The
 * memory changes in one way only, by reading the whole table, one read after the other: so it never goes back in time.
 */
export function createPolicies({
  store: storeOpened,
  registry,
  metrics,
  logger,
  random,
  rereadMs = 30_000,
}: PoliciesOptions): Policies {
  const inForce = metrics.gauge('docmesh_registry_policies')
  const retryPause = createBackoff({ initialMs: 200, maxMs: 10_000, jitter: 0.3 }, random)
  const rereadPause = createBackoff({ initialMs: rereadMs, maxMs: rereadMs, jitter: 0.1 }, random)
  let store: PolicyStore | undefined
  let listener: { close(): Promise<void> } | undefined
  let timer: NodeJS.Timeout | undefined
  let failures = 0
  let closed = false

  const refresh = oneAtATime(async () => {
    if (!store) throw unavailable()
    const all = await store.all()
    if (closed) return
    registry.replacePolicies(all)
    inForce.set(all.length)
  })

  async function follow(from: PolicyStore): Promise<void> {
    store = from
    try {
      listener ??= await from.listen(() => void refresh().catch(warn))
      await refresh()
      failures = 0
    } catch (error) {
      failures++
      warn(error)
    }
    if (closed) return listener?.close()
    const pauseMs = failures > 0 ? retryPause(failures) : rereadPause(1)
    timer = setTimeout(() => void follow(from), pauseMs).unref()
  }

  function warn(err: unknown): void {
    if (!closed) logger.warn({ err }, 'cannot read the traffic policies: those in memory stay in force')
  }

  function openStore(): PolicyStore {
    if (!storeOpened) {
      throw rpcError('POLICIES_NOT_CONFIGURED', 'This registry has no database to keep traffic policies in.')
    }
    if (!store) throw unavailable()
    return store
  }

  const versionsOf = (service: string): Set<string> =>
    new Set(
      registry
        .members()
        .filter((member) => member.service === service)
        .map(({ version }) => version),
    )

  function get(service: string): TrafficPolicy {
    const policy = registry.policies().find((each) => each.service === service)
    if (policy) return policy
    if (registry.policiesPending()) throw unavailable()
    throw rpcError('POLICY_NOT_FOUND', `The service "${service}" has the default policy.`, {
      resource: { type: 'traffic_policy', name: service },
    })
  }

  inForce.set(0)
  if (storeOpened) void storeOpened.then((opened) => (closed ? undefined : follow(opened)))
  else registry.replacePolicies([])

  return {
    get,
    async put(policy, requestId) {
      const to = openStore()
      checkPolicy(policy, versionsOf)
      const stored = await to.put(policy, requestId)
      await refresh()
      // Somebody else may have been quicker with the next change.
      return registry.policies().find((each) => each.etag === stored.etag) ?? stored
    },
    async delete(service) {
      await openStore().delete(service)
      await refresh()
      return registry.revision()
    },
    async close() {
      closed = true
      clearTimeout(timer)
      await listener?.close()
    },
  }
}

const unavailable = () => rpcError('DATABASE_UNAVAILABLE', 'The traffic policies have not been read yet.')

/** Who asks during a run gets the next one, which all who ask then share: the present one may be too old for them. */
function oneAtATime(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined
  const start = (): Promise<void> => {
    running = run().finally(() => {
      running = undefined
    })
    return running
  }
  return () => {
    if (next) return next
    if (!running) return start()
    next = running
      .catch(() => {})
      .then(() => {
        next = undefined
        return start()
      })
    return next
  }
}
