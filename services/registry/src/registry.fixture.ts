import type { Description } from './member.ts'
import { type Change, createRegistry, type RegistryOptions } from './registry.ts'

export const TTL_MS = 15_000
export const GRACE_MS = 2_000
const CROWD = 'crowd'

/** A registry whose time moves only when told. */
export function fresh(epoch = 'e1', options: Partial<RegistryOptions> = {}) {
  let now = 1_000_000
  const clock = {
    now: () => now,
    advance: (ms: number) => {
      now += ms
    },
  }
  const registry = createRegistry({
    epoch,
    leaseTtlMs: TTL_MS,
    suspectGraceMs: GRACE_MS,
    monotonic: clock.now,
    clock: () => new Date(clock.now()),
    ...options,
  })
  const changes: Change[] = []
  registry.onChange((change) => changes.push(change))
  const after = (ms: number): void => {
    clock.advance(ms)
    registry.sweep()
  }
  const members = () => registry.members().filter(({ version }) => version !== CROWD)
  const states = (): Record<string, string> =>
    Object.fromEntries(members().map(({ instanceId, state }) => [instanceId, state]))
  /** So many others that no guard minds what happens to the few that a test is about. */
  const inCrowd = (size = 200) => {
    const { member, token } = registry.register(named('crowd', { version: CROWD }), 'serving', {})
    for (let i = 0; i < size; i++) registry.adoptRemote('r2', { ...member, instanceId: `crowd-${i}` }, 1e12)
    registry.deregister('crowd', 1n, token)
    changes.length = 0
  }
  return { registry, clock, changes, after, members, states, inCrowd }
}

export const named = (instanceId: string, fields: Partial<Description> = {}): Description => ({
  service: 'document',
  instanceId,
  incarnation: 1n,
  address: '127.0.0.1:1',
  adminAddress: '',
  version: '1',
  zone: '',
  grpcServices: [],
  dependencies: [],
  capabilities: [],
  weight: 0,
  labels: {},
  ...fields,
})
