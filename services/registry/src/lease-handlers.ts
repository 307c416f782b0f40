import {
  InstanceState,
  type RegisterRequest,
  type RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { durationOf, type Handlers, invalidRequest, msOf } from '@docmesh/rpc'
import type { Metrics } from '@docmesh/telemetry'
import { createAllowance } from './allowance.ts'
import type { Circuits } from './circuits.ts'
import type { Incident } from './incident.ts'
import type { LeaseStream } from './lease.ts'
import { interruptible } from './lease-stream.ts'
import type { Description } from './member.ts'
import type { Grant, Registry } from './registry.ts'
import { descriptionFrom, incidentFrom, stateFrom, waitFrom } from './wire.ts'

type LeaseHandlers = Pick<
  Required<Handlers<typeof RegistryServiceDefinition>>,
  'register' | 'renew' | 'deregister' | 'drain'
>

interface Drain {
  readonly drain: { readonly graceMs: number | undefined }
}

/** What one instance may report before some of it is dropped. */
const INCIDENTS = { burst: 50, perSecond: 10, now: () => performance.now() }
const DRAIN_WAIT_MS = 2_000

/** The half of RegistryService that instances use. */
export function leaseHandlers(
  registry: Registry,
  metrics: Metrics,
  { circuits, onIncident }: { circuits: Pick<Circuits, 'note'>; onIncident: (incident: Incident) => void },
): LeaseHandlers {
  const incidents = metrics.counter('docmesh_registry_incidents_total')
  const ttl = durationOf(registry.leaseTtlMs)
  const lease = ({ member, token }: Grant) => ({
    ttl,
    heartbeatInterval: durationOf(registry.leaseTtlMs / 3),
    revision: member.revision,
    leaseToken: token,
  })

  return {
    async *register(requests) {
      const messages = interruptible<RegisterRequest, Drain>(requests)
      const stream: LeaseStream = {
        drain: (graceMs) => messages.interrupt({ drain: { graceMs } }),
        end: (error) => messages.fail(error),
      }
      const allowance = createAllowance(INCIDENTS)
      let description: Description | undefined
      try {
        for await (const received of messages) {
          if ('drain' in received) {
            const { graceMs } = received.drain
            const grace = graceMs === undefined ? undefined : durationOf(graceMs)
            const command = { $case: 'drain', value: { grace } } as const
            yield { message: { $case: 'command', value: { command } } } as const
            continue
          }
          const { message, leaseToken } = received
          if (message?.$case === 'registration') {
            description = descriptionFrom(message.value)
            const granted = registry.register(description, stateFrom(message.value.state), stream, leaseToken)
            yield { message: { $case: 'lease', value: lease(granted) } } as const
          } else if (message?.$case === 'heartbeat' && description) {
            const { state, eventLoopLag } = message.value
            registry.heartbeat(stream, {
              state: state === InstanceState.UNSPECIFIED ? undefined : stateFrom(state),
              lagMs: eventLoopLag && msOf(eventLoopLag),
            })
            yield { message: { $case: 'renewed', value: { ttl } } } as const
          } else if (message?.$case === 'incident' && description) {
            const incident = incidentFrom(message.value, description)
            incidents.inc({ kind: incident.kind })
            circuits.note(incident)
            if (allowance.take()) onIncident(incident)
          } else {
            throw invalidRequest([
              { field: 'message', description: 'send `registration` first, then `heartbeat` or `incident`' },
            ])
          }
        }
      } finally {
        registry.detach(stream)
      }
    },
    async renew({ instanceId, incarnation, leaseToken }) {
      return { lease: lease(registry.renew(instanceId, incarnation, leaseToken)) }
    },
    async deregister({ instanceId, incarnation, leaseToken }) {
      registry.deregister(instanceId, incarnation, leaseToken)
      return { revision: registry.revision() }
    },
    async drain({ instanceId, wait, grace }) {
      const waitMs = waitFrom(wait, 'wait') ?? DRAIN_WAIT_MS
      const { revision } = registry.drain(instanceId, waitFrom(grace, 'grace'))
      return { revision, acknowledged: await registry.whenAcknowledged(revision, waitMs) }
    },
  }
}
