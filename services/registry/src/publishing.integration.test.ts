import {
  CircuitChanged,
  EndpointEjected,
  ExpiryGuardChanged,
  InstanceStateChanged,
  PanicChanged,
  ServiceDeregistered,
  ServiceRecovered,
  ServiceRegistered,
  ServiceUnhealthy,
} from '@docmesh/contracts/registry/v1/events'
import { connectEvents, type Events } from '@docmesh/events'
import { openPostgres, type Postgres } from '@docmesh/postgres'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually, type TestDatabase, tcpProxy, testDatabase } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Incident } from './incident.ts'
import { startPublishing } from './publishing.ts'
import { fresh, GRACE_MS, named, TTL_MS } from './registry.fixture.ts'

const migrations = new URL('../migrations', import.meta.url)
const TYPES: Readonly<Record<string, { decode(bytes: Uint8Array): unknown }>> = {
  [ServiceRegistered.$type]: ServiceRegistered,
  [ServiceDeregistered.$type]: ServiceDeregistered,
  [ServiceUnhealthy.$type]: ServiceUnhealthy,
  [ServiceRecovered.$type]: ServiceRecovered,
  [InstanceStateChanged.$type]: InstanceStateChanged,
  [ExpiryGuardChanged.$type]: ExpiryGuardChanged,
  [EndpointEjected.$type]: EndpointEjected,
  [CircuitChanged.$type]: CircuitChanged,
  [PanicChanged.$type]: PanicChanged,
}

let database: TestDatabase
let db: Postgres
let events: Events
const releases: (() => unknown)[] = []

beforeAll(async () => {
  database = await testDatabase({ migrations: [{ schema: 'registry', migrations }] })
  db = await openPostgres({ url: database.url, schema: 'registry' })
  events = await connectEvents({ db })
})
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})
afterAll(async () => {
  await events?.close()
  await db?.close()
  await database?.close()
})

/** A replica that tells of what it sees. */
function replica(opened: Promise<{ db: Postgres; events: Events }> = Promise.resolve({ db, events })) {
  const mesh = fresh()
  const publishing = startPublishing(mesh.registry, {
    opened,
    clock: () => new Date(mesh.clock.now()),
    logger: silentLogger,
    metrics: createMetrics({ service: 'registry', version: '0', processMetrics: false }),
    random: () => 0.5,
  })
  releases.push(() => publishing.close())
  return { ...mesh, publishing }
}

/** What was told of an aggregate, in order: the short name of each event and its content. */
const told = async (aggregate: string, type = 'instance') =>
  (await events.history(type, aggregate)).map((event) => [
    event.type.split('.').at(-1),
    TYPES[event.type]?.decode(event.payload),
  ])
const names = async (aggregate: string, type?: string) => (await told(aggregate, type)).map(([name]) => name)

describe('the life of an instance', () => {
  it('is told as events, in order', async () => {
    const { registry, after } = replica()
    const stream = {}
    registry.register(named('keeper'), 'serving', {})
    registry.register(named('life'), 'starting', stream)
    registry.heartbeat(stream, { state: 'serving' })
    registry.setHealth('life', 1n, 'unhealthy', 1, 'connection refused')
    registry.setHealth('life', 1n, 'healthy', 1)
    registry.detach(stream)
    after(GRACE_MS)
    const service = 'document'
    const instanceId = 'life'
    await eventually(async () =>
      expect(await told('life')).toEqual([
        ['ServiceRegistered', { service, instanceId, address: '127.0.0.1:1', version: '1' }],
        ['InstanceStateChanged', { service, instanceId, from: 'starting', to: 'serving' }],
        ['ServiceUnhealthy', { service, instanceId, detail: 'connection refused' }],
        ['ServiceRecovered', { service, instanceId }],
        ['InstanceStateChanged', { service, instanceId, from: 'serving', to: 'suspect' }],
        ['ServiceDeregistered', { service, instanceId, reason: 'stream_lost', unhealthy: false }],
      ]),
    )
  })

  it('is told once, however many replicas see it', async () => {
    const replicas = [replica(), replica(), replica()]
    for (const { registry } of replicas) {
      const stream = {}
      registry.register(named('keeper'), 'serving', {})
      registry.register(named('shared'), 'starting', stream)
      registry.heartbeat(stream, { state: 'serving' })
      registry.setHealth('shared', 1n, 'unhealthy', 1)
      registry.register(named('shared', { incarnation: 2n }), 'serving', {})
      registry.register(named('last'), 'serving', {})
    }
    await eventually(async () => expect(await names('last')).toHaveLength(1))
    for (const { publishing } of replicas) await publishing.close()
    expect(await names('shared')).toEqual([
      'ServiceRegistered',
      'InstanceStateChanged',
      'ServiceUnhealthy',
      'ServiceDeregistered',
      'ServiceRegistered',
    ])
    expect((await told('shared')).at(-2)?.[1]).toMatchObject({ reason: 'replaced', unhealthy: true })
  })

  it('goes on when an instance that was gone comes back', async () => {
    const { registry, clock } = replica()
    const { token } = registry.register(named('back'), 'serving', {})
    registry.deregister('back', 1n, token)
    clock.advance(1)
    registry.register(named('back'), 'serving', {})
    await eventually(async () =>
      expect(await names('back')).toEqual(['ServiceRegistered', 'ServiceDeregistered', 'ServiceRegistered']),
    )
  })
})

describe('what callers report', () => {
  const incident = (fields: Partial<Incident>): Incident => ({
    kind: 'endpoint_ejected',
    at: new Date(1_000),
    callerService: 'document',
    callerInstanceId: 'caller',
    service: 'analysis',
    instanceId: 'x',
    methodClass: '',
    reason: 'success_ratio',
    ...fields,
  })

  it('is told once, however many replicas they report to', async () => {
    const replicas = [replica(), replica()]
    for (const { publishing } of replicas) {
      publishing.incident(incident({}))
      publishing.incident(
        incident({ kind: 'circuit_opened', instanceId: '', methodClass: 'read', reason: 'failure_rate' }),
      )
      publishing.incident(incident({ kind: 'panic_started', instanceId: '', reason: '' }))
    }
    const by = { callerService: 'document', callerInstanceId: 'caller', service: 'analysis' }
    const all = [
      ['EndpointEjected', { ...by, instanceId: 'x', reason: 'success_ratio' }],
      ['CircuitChanged', { ...by, methodClass: 'read', to: 'open', reason: 'failure_rate' }],
      ['PanicChanged', { ...by, active: true }],
    ]
    await eventually(async () => expect(await told('caller', 'caller')).toEqual(all))
    for (const { publishing } of replicas) await publishing.close()
    expect(await told('caller', 'caller')).toEqual(all)
  })
})

describe('the guard', () => {
  it('is told of by the replica that it works in', async () => {
    const { registry, after } = replica()
    for (let i = 0; i < 4; i++) registry.register(named(`g${i}`), 'serving', {})
    after(TTL_MS)
    await eventually(async () =>
      expect(await told('e1', 'registry')).toEqual([
        ['ExpiryGuardChanged', { replica: 'e1', active: true, expired: 4, instances: 4 }],
      ]),
    )
  })
})

describe('without its database', () => {
  it('the registry works, and tells what happened when the database is there', async () => {
    const { promise: opened, resolve } = Promise.withResolvers<{ db: Postgres; events: Events }>()
    const { registry, states } = replica(opened)
    registry.register(named('early'), 'serving', {})
    expect(states()).toEqual({ early: 'serving' })
    resolve({ db, events })
    await eventually(async () => expect(await names('early')).toEqual(['ServiceRegistered']))
  })

  it('nothing is lost or told twice while the database is away for a time', async () => {
    await using proxy = await tcpProxy(database.url)
    const other = await openPostgres({ url: proxy.url, schema: 'registry', connectTimeoutMs: 1_000 })
    releases.push(() => other.close())
    const { registry } = replica(Promise.resolve({ db: other, events }))
    const stream = {}
    registry.register(named('cut'), 'starting', stream)
    await eventually(async () => expect(await names('cut')).toHaveLength(1))
    proxy.cut()
    registry.heartbeat(stream, { state: 'serving' })
    registry.drain('cut')
    proxy.restore()
    await eventually(async () =>
      expect(await names('cut')).toEqual([
        'ServiceRegistered',
        'InstanceStateChanged',
        'InstanceStateChanged',
      ]),
    )
  })
})
