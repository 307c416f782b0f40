import { TrafficPolicyChanged } from '@docmesh/contracts/registry/v1/events'
import { RegistryServiceDefinition, TrafficPolicy } from '@docmesh/contracts/registry/v1/registry'
import {
  Code,
  createClient,
  grpcJsClient,
  grpcJsServer,
  implement,
  RpcError,
  routesOf,
  sendOver,
} from '@docmesh/rpc'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import { eventually, type TestDatabase, tcpProxy, testDatabase } from '@docmesh/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase } from './database.ts'
import { createPolicies } from './policies.ts'
import { policyHandlers } from './policy-handlers.ts'
import { policyStore } from './policy-store.ts'
import { named } from './registry.fixture.ts'
import { createRegistry } from './registry.ts'

let database: TestDatabase
let stack: AsyncDisposableStack

beforeAll(async () => {
  database = await testDatabase()
})
beforeEach(() => {
  stack = new AsyncDisposableStack()
})
afterEach(() => stack.disposeAsync())
afterAll(() => database.close())

let replicas = 0

/** A replica of the registry as far as traffic policies go, with a client. */
async function startReplica({ url, rereadMs = 30_000 }: { url: string | undefined; rereadMs?: number }) {
  const logger = silentLogger
  const metrics = createMetrics({ service: 'registry', version: '0', processMetrics: false })
  const registry = createRegistry({
    epoch: `replica-${++replicas}`,
    leaseTtlMs: 15_000,
    suspectGraceMs: 2_000,
    policiesPending: url !== undefined,
    monotonic: () => performance.now(),
    clock: () => new Date(),
  })
  const data = url === undefined ? undefined : openDatabase({ url, metrics, logger, random: Math.random })
  if (data) stack.defer(() => data.close())
  const store = data?.opened.then(({ db, events: { publish } }) =>
    policyStore({ db, publish, clock: () => new Date() }),
  )
  const policies = createPolicies({ store, registry, metrics, logger, random: Math.random, rereadMs })
  stack.defer(() => policies.close())
  const routes = routesOf(implement(RegistryServiceDefinition, policyHandlers(policies)), [])
  const listener = await grpcJsServer.listen('127.0.0.1:0', routes)
  stack.defer(() => listener.close(0))
  const connection = grpcJsClient.connect(listener.address)
  stack.defer(() => connection.close())
  const client = createClient(RegistryServiceDefinition, sendOver(connection))
  const register = (service: string, version: string) =>
    registry.register(named(`${service}-${version}`, { service, version }), 'serving', undefined)
  const put = async (service: string, shares: Record<string, number>, { etag = '', requestId = '' } = {}) => {
    const weights = Object.entries(shares).map(([version, weight]) => ({ version, weight }))
    const policy = TrafficPolicy.fromPartial({ service, weights, etag })
    const answer = await client.putTrafficPolicy({ policy, requestId })
    if (!answer.policy) throw new Error('the answer has no policy')
    return answer.policy
  }
  const sharesOf = (service: string) => {
    const found = registry.policies().find((policy) => policy.service === service)
    return found && Object.fromEntries(found.weights.map(({ version, weight }) => [version, weight]))
  }
  return { registry, client, register, put, sharesOf, data, metrics }
}

const startReady = async (options: Partial<Parameters<typeof startReplica>[0]> = {}) => {
  const replica = await startReplica({ url: database.url, ...options })
  await eventually(() => expect(replica.registry.policiesPending()).toBe(false))
  return replica
}

async function failure(work: Promise<unknown>): Promise<Pick<RpcError, 'code' | 'reason' | 'options'>> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof RpcError)) throw new Error(`expected an RpcError, got ${String(error)}`)
  return error
}

describe('traffic policies', () => {
  it('are in force on the replica that answers at once, and on the others within a moment', async () => {
    const [one, two] = [await startReady(), await startReady()]
    const stored = await one.put('fan-out', { a: 90, b: 10 })
    expect(one.sharesOf('fan-out')).toEqual({ a: 90, b: 10 })
    expect(stored.revision).toBe(one.registry.revision())
    await eventually(() => expect(two.sharesOf('fan-out')).toEqual({ a: 90, b: 10 }))
    const { policy } = await two.client.getTrafficPolicy({ service: 'fan-out' })
    expect(policy).toMatchObject({ etag: stored.etag, weights: stored.weights })

    const { revision } = await two.client.deleteTrafficPolicy({ service: 'fan-out', requestId: '' })
    expect(two.sharesOf('fan-out')).toBeUndefined()
    expect(revision).toBe(two.registry.revision())
    await eventually(() => expect(one.sharesOf('fan-out')).toBeUndefined())
  })

  it('outlive every replica', async () => {
    const before = await startReady()
    await before.put('lasting', { a: 100 })
    await stack.disposeAsync()
    stack = new AsyncDisposableStack()
    const after = await startReady()
    expect(after.sharesOf('lasting')).toEqual({ a: 100 })
    expect((await after.metrics.render()).body).toMatch(/^docmesh_registry_policies\{?.*\}? [1-9]/m)
  })

  it('that are not there are NOT_FOUND, and deleting them is no error and no event', async () => {
    const { client, data } = await startReady()
    expect(await failure(client.getTrafficPolicy({ service: 'plain' }))).toMatchObject({
      code: Code.NOT_FOUND,
      reason: 'POLICY_NOT_FOUND',
      options: { resource: { type: 'traffic_policy', name: 'plain' } },
    })
    await client.deleteTrafficPolicy({ service: 'plain', requestId: 'r' })
    const { events } = await (data?.opened ?? Promise.reject(new Error('no database')))
    expect(await events.history('traffic_policy', 'plain')).toEqual([])
  })

  it('announce each change with an event, in order', async () => {
    const { client, put, data } = await startReady()
    await put('told', { a: 100 })
    await put('told', { a: 50, b: 50 })
    await client.deleteTrafficPolicy({ service: 'told', requestId: '' })
    const { events } = await (data?.opened ?? Promise.reject(new Error('no database')))
    const told = await events.history('traffic_policy', 'told')
    expect(told.map(({ type }) => type)).toEqual(Array(3).fill(TrafficPolicyChanged.$type))
    const revisions = told.map(({ payload }) => TrafficPolicyChanged.decode(payload).revision)
    expect(revisions).toEqual(revisions.toSorted((a, b) => Number(a - b)))
    expect(new Set(revisions).size).toBe(3)
  })

  it('change only from the state that their etag names', async () => {
    const { client, put, sharesOf } = await startReady()
    const first = await put('guarded', { a: 100 })
    const second = await put('guarded', { a: 90, b: 10 }, { etag: first.etag })
    const stale = { code: Code.ABORTED, reason: 'STALE_ETAG' }
    expect(await failure(put('guarded', { b: 100 }, { etag: first.etag }))).toMatchObject(stale)
    expect(sharesOf('guarded')).toEqual({ a: 90, b: 10 })
    await client.deleteTrafficPolicy({ service: 'guarded', requestId: '' })
    await put('guarded', { c: 100 })
    for (const { etag } of [first, second])
      expect(await failure(put('guarded', { b: 100 }, { etag }))).toMatchObject(stale)
  })

  it('are given to one of those who change the same state at the same time', async () => {
    const [one, two] = [await startReady(), await startReady()]
    const { etag } = await one.put('race', { a: 100 })
    const outcomes = await Promise.allSettled(
      [one, two, one, two].map(({ put }, index) => put('race', { [`v${index}`]: 100 }, { etag })),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const refusals = outcomes.filter((outcome) => outcome.status === 'rejected')
    expect(refusals.map(({ reason }) => reason.reason)).toEqual(Array(3).fill('STALE_ETAG'))
  })

  it('change once however often a request is repeated, also at the same time', async () => {
    const { put, data } = await startReady()
    const { etag } = await put('again', { a: 100 })
    const request = { etag, requestId: 'req-1' }
    const answers = await Promise.all([1, 2, 3].map(() => put('again', { a: 50, b: 50 }, request)))
    expect(new Set(answers.map((answer) => answer.etag)).size).toBe(1)
    const { events } = await (data?.opened ?? Promise.reject(new Error('no database')))
    expect(await events.history('traffic_policy', 'again')).toHaveLength(2)
  })

  it('are refused when they name a version that no instance runs', async () => {
    const { put, register } = await startReady()
    register('document', '1')
    expect(await failure(put('document', { 1: 50, 2: 50 }))).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      options: { fields: [{ field: 'policy.weights[1].version' }] },
    })
    register('document', '2')
    expect(await put('document', { 1: 50, 2: 50 })).toMatchObject({ service: 'document' })
  })

  it('are refused when the request is not one', async () => {
    const { client, put } = await startReady()
    const fieldsOf = async (work: Promise<unknown>) =>
      (await failure(work)).options.fields?.map(({ field }) => field)
    const nothing = client.putTrafficPolicy({ policy: undefined, requestId: 'two words' })
    expect(await fieldsOf(nothing)).toEqual(['policy', 'request_id'])
    expect(await fieldsOf(put('x', { a: 100 }, { requestId: '\0' }))).toEqual(['request_id'])
    const nameless = client.deleteTrafficPolicy({ service: '\0', requestId: '' })
    expect(await fieldsOf(nameless)).toEqual(['service'])
  })

  it('are seen within the re-read when a notification was lost', async () => {
    const { put, sharesOf, data } = await startReady({ rereadMs: 50 })
    await put('silent', { a: 100 })
    const { db } = await (data?.opened ?? Promise.reject(new Error('no database')))
    await db.query("delete from policies where service = 'silent'")
    await eventually(() => expect(sharesOf('silent')).toBeUndefined())
  })
})

describe('without its database', () => {
  it('a registry starts, says that the policies are pending, and reads them when the database is there', async () => {
    const proxy = stack.use(await tcpProxy(database.url))
    proxy.cut()
    const replica = await startReplica({ url: proxy.url })
    const away = { code: Code.UNAVAILABLE, reason: 'DATABASE_UNAVAILABLE' }
    expect(await failure(replica.put('early', { a: 100 }))).toMatchObject(away)
    expect(await failure(replica.client.getTrafficPolicy({ service: 'early' }))).toMatchObject(away)
    expect(replica.registry.policiesPending()).toBe(true)
    proxy.restore()
    await eventually(() => expect(replica.registry.policiesPending()).toBe(false))
    await replica.put('early', { a: 100 })
    expect(replica.sharesOf('early')).toEqual({ a: 100 })
  })

  it('a registry goes on with what it has, takes no change, and learns what it missed', async () => {
    const other = await startReady()
    const proxy = stack.use(await tcpProxy(database.url))
    const cutOff = await startReady({ url: proxy.url })
    const { etag } = await cutOff.put('steady', { a: 100 })
    await other.put('gone', { a: 100 })
    await eventually(() => expect(cutOff.sharesOf('gone')).toEqual({ a: 100 }))
    proxy.cut()
    expect(await failure(cutOff.put('steady', { b: 100 }))).toMatchObject({
      code: Code.UNAVAILABLE,
      reason: 'DATABASE_UNAVAILABLE',
    })
    expect((await cutOff.client.getTrafficPolicy({ service: 'steady' })).policy?.etag).toBe(etag)
    await other.put('steady', { c: 100 })
    await other.client.deleteTrafficPolicy({ service: 'gone', requestId: '' })
    expect(cutOff.sharesOf('steady')).toEqual({ a: 100 })
    proxy.restore()
    await eventually(() => expect(cutOff.sharesOf('steady')).toEqual({ c: 100 }))
    expect(cutOff.sharesOf('gone')).toBeUndefined()
  })

  it('a registry that was started without one has no policies and takes none', async () => {
    const { registry, client, put } = await startReplica({ url: undefined })
    expect(registry.policiesPending()).toBe(false)
    const refused = { code: Code.FAILED_PRECONDITION, reason: 'POLICIES_NOT_CONFIGURED' }
    expect(await failure(put('any', { a: 100 }))).toMatchObject(refused)
    const deletion = client.deleteTrafficPolicy({ service: 'any', requestId: '' })
    expect(await failure(deletion)).toMatchObject(refused)
    const asked = client.getTrafficPolicy({ service: 'any' })
    expect(await failure(asked)).toMatchObject({ reason: 'POLICY_NOT_FOUND' })
  })
})
