// The thread that keeps the leases of its process: a main thread that is busy for seconds must not lose them.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import {
  InstanceState,
  type MeshIncident,
  RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { createClient, grpcJsClient, sendOver } from '@docmesh/rpc'
import { keepLease, type LeaseHolder } from './lease.ts'
import { lagOf } from './lease-worker-beat.ts'
import type { FromLeaseWorker, LeaseWorkerData, ToLeaseWorker } from './lease-worker-messages.ts'

/** A main thread that lags more than this is told of at once, and again when it does no more. */
const LATE_MS = 1_000
const LOOK_MS = 100
/** The oldest incidents are dropped while no replica takes them. */
const MAX_INCIDENTS = 100
const DEREGISTER_TIMEOUT_MS = 1_000

function keepLeases(port: MessagePort, { targets, beat, mayBeListed, ...data }: LeaseWorkerData): void {
  const tokens = new Map(data.tokens)
  const ended = new AbortController()
  const incidents: MeshIncident[] = []
  const listeners = new Set<() => void>()
  let { registration } = data
  let isLate = false

  const tell = (message: FromLeaseWorker): void => port.postMessage(message)
  const wake = (): void => {
    for (const listener of listeners) listener()
  }

  function enter(state: InstanceState): void {
    registration = { ...registration, state }
    wake()
  }

  const holder: LeaseHolder = {
    registration: () => registration,
    lagMs: () => lagOf(beat),
    nextIncident: () => incidents.shift(),
    onNews(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
  const leases = targets.map((target) =>
    keepLease(
      {
        target,
        transport: grpcJsClient,
        log: (level, fields, message) => tell({ kind: 'log', level, fields: plain(fields), message }),
        holder,
        token: tokens.get(target) ?? '',
        mayBeListed,
        onGranted(token) {
          tokens.set(target, token)
          tell({ kind: 'granted', target, token })
        },
        onConfirmed: (state) => tell({ kind: 'confirmed', state }),
        onDrain(graceMs) {
          enter(InstanceState.DRAINING) // at once: the main thread may be busy
          tell({ kind: 'drain', graceMs })
        },
        onReplaced: ({ code, reason, message }) => tell({ kind: 'replaced', code, reason, message }),
      },
      ended.signal,
    ),
  )
  const look = setInterval(() => {
    if (lagOf(beat) > LATE_MS === isLate) return
    isLate = !isLate
    wake()
  }, LOOK_MS)

  async function deregister(target: string): Promise<void> {
    const connection = grpcJsClient.connect(target)
    try {
      const { instanceId, incarnation } = registration
      const leaseToken = tokens.get(target) ?? ''
      const registry = createClient(RegistryServiceDefinition, sendOver(connection))
      await registry.deregister({ instanceId, incarnation, leaseToken }, { timeoutMs: DEREGISTER_TIMEOUT_MS })
    } finally {
      connection.close()
    }
  }

  async function leave(): Promise<void> {
    clearInterval(look)
    ended.abort() // first: a heartbeat that comes after the deregistration would register the instance again
    await Promise.allSettled([...leases, ...targets.map(deregister)])
    tell({ kind: 'left' })
    port.close()
  }

  port.on('message', (message: ToLeaseWorker) => {
    switch (message.kind) {
      case 'state':
        enter(message.state)
        break
      case 'incident':
        incidents.push(message.incident)
        if (incidents.length > MAX_INCIDENTS) incidents.shift()
        wake()
        break
      case 'leave':
        void leave()
    }
  })
}

/** Errors lose what they are on the way to another thread. */
const plain = (fields: object): object =>
  Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      value instanceof Error ? { name: value.name, message: value.message } : value,
    ]),
  )

if (parentPort) keepLeases(parentPort, workerData as LeaseWorkerData)
