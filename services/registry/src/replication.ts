import { createBackoff } from '@docmesh/resilience'
import type { Logger, Metrics } from '@docmesh/telemetry'
import { Redis } from 'ioredis'
import type { Change } from './change.ts'
import type { Member } from './member.ts'
import { decodeSaid, encodeSaid, type Said } from './replication-message.ts'
import { createPeers, type RemoteLeases } from './replication-peers.ts'

/** The part of the registry that replication needs. */
export interface ReplicatedRegistry extends RemoteLeases {
  readonly epoch: string
  readonly leaseTtlMs: number
  revision(): bigint
  ownMembers(): readonly Member[]
  onChange(listener: (change: Change) => void): () => void
}

export interface ReplicationOptions {
  /** `redis://user:password@host:port/database`; Redis 6 or newer. */
  readonly redisUrl: string
  /** Begins every channel and key; meshes that share a Redis need one each. Default `docmesh`. */
  readonly prefix?: string
  readonly registry: ReplicatedRegistry
  readonly logger: Logger
  readonly metrics: Metrics
  /** Monotonic milliseconds. */
  readonly monotonic: () => number
  readonly random: () => number
}

export interface Replication {
  /** Whether changes travel now. */
  connected(): boolean
  /** Other replicas heard of within one lease time. */
  peers(): number
  /** Says nothing from now on, so that the end of this replica is no news about its instances. */
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MS = 3_000

/**
 * Replicas tell each other of the leases that they granted: each change at once on a channel, everything every third of
 * the lease time, so that a lost message is made good. The whole state also lies in Redis as a warm copy for who comes
 * later. Redis is never the truth: what is heard are leases that run out like any other, a copy brings what is left of
 * its time, and when Redis is away nothing is removed because of it. Instances register with every replica, so that each
 * one can answer alone.
 */
export function startReplication({
  redisUrl,
  prefix = 'docmesh',
  registry,
  logger,
  metrics,
  monotonic,
  random,
}: ReplicationOptions): Replication {
  const { epoch, leaseTtlMs } = registry
  const channel = `${prefix}:registry:changes`
  const askChannel = `${prefix}:registry:asks`
  const replicasKey = `${prefix}:registry:replicas`
  const copyKey = (replica: string): string => `${prefix}:registry:leases:${replica}`
  const intervalMs = Math.ceil(leaseTtlMs / 3)

  const replicating = metrics.gauge('docmesh_registry_replicating')
  const reconnectPause = createBackoff({ initialMs: 100, maxMs: 2_000, jitter: 0.3 }, random)
  const peers = createPeers({ registry, leaseTtlMs, monotonic })
  /** Own leases that changed and were not told of; undefined: ended. */
  const news = new Map<string, Member | undefined>()
  let state: 'alone' | 'joining' | 'joined' = 'alone'
  let told: 'alone' | 'joined' | undefined
  let sending = false
  let wholeStateDue = false
  let garbage = 0
  let closed = false

  // One connection that speaks RESP3, where messages and answers are told apart. A command that gets no answer breaks it.
  const redis = new Redis(redisUrl, {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: intervalMs,
    retryStrategy: reconnectPause,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
  })
  redis.on('error', (error: Error) => alone(error))
  redis.on('close', () => alone())
  redis.on('ready', () => void join())
  redis.on('messageBuffer', (from: Buffer, bytes: Buffer) => {
    if (from.toString() === channel) hear(bytes, leaseTtlMs)
    else if (bytes.toString() !== epoch) sayAllSoon()
  })

  const isReady = (): boolean => redis.status === 'ready'

  /**
   * Subscribes before it reads: what is said in between is heard. What others changed since they last wrote their copies,
   * they say when they are asked.
   */
  async function join(): Promise<void> {
    if (state !== 'alone') return
    state = 'joining'
    try {
      await redis.subscribe(channel, askChannel)
      await readCopies()
      await sayAll()
      await redis.publish(askChannel, epoch)
      if (closed) return
      state = 'joined'
      replicating.set(1)
      if (told !== 'joined') logger.info({ peers: peers.count() }, 'replicas of the registry hear each other')
      told = 'joined'
      await say()
    } catch (error) {
      alone(error as Error)
    }
  }

  function alone(error?: Error): void {
    state = 'alone'
    news.clear()
    replicating.set(0)
    if (!error || closed || told === 'alone') return
    // The message only: the error may carry the command, and that the state of the mesh.
    logger.warn(
      { reason: error.message },
      'Redis does not answer: this replica of the registry answers alone',
    )
    told = 'alone'
  }

  async function readCopies(): Promise<void> {
    for (const replica of await redis.smembers(replicasKey)) {
      if (replica === epoch) continue
      const [leftMs, bytes] = await Promise.all([
        redis.pttl(copyKey(replica)),
        redis.getBuffer(copyKey(replica)),
      ])
      if (bytes && leftMs > 0) hear(bytes, Math.min(leftMs, leaseTtlMs))
      else await redis.srem(replicasKey, replica)
    }
  }

  function hear(bytes: Buffer, ttlMs: number): void {
    let said: Said
    try {
      said = decodeSaid(bytes)
    } catch {
      if (garbage++ === 0) logger.warn({ bytes: bytes.length }, 'not a message of a replica: ignored')
      return
    }
    if (said.replica !== epoch) peers.hear(said, ttlMs)
  }

  /**
   * First the copy, then the message: who subscribes and then reads has missed neither. No transaction: Redis 7.0 writes
   * the message that comes back to us into the middle of its answer.
   */
  async function sayAll(): Promise<void> {
    wholeStateDue = false
    news.clear()
    const members = registry.ownMembers()
    const bytes = encodeSaid({ replica: epoch, revision: registry.revision(), kind: 'all', members })
    await Promise.all([
      redis.set(copyKey(epoch), bytes, 'PX', leaseTtlMs),
      redis.sadd(replicasKey, epoch),
      redis.pexpire(replicasKey, leaseTtlMs),
      redis.publish(channel, bytes),
    ])
  }

  async function sayNews(): Promise<void> {
    const changed = [...news.values()].filter((member) => member !== undefined)
    const removed = [...news].filter(([, member]) => !member).map(([instanceId]) => instanceId)
    news.clear()
    const revision = registry.revision()
    await redis.publish(channel, encodeSaid({ replica: epoch, revision, kind: 'changes', changed, removed }))
  }

  /** One message at a time: behind a slow Redis changes are merged, not queued. */
  async function say(): Promise<void> {
    if (sending || state !== 'joined') return
    sending = true
    try {
      while (state === 'joined' && (wholeStateDue || news.size > 0)) {
        await (wholeStateDue ? sayAll() : sayNews())
      }
    } catch (error) {
      alone(error as Error)
    } finally {
      sending = false
    }
  }

  function sayAllSoon(): void {
    wholeStateDue = true
    void say()
  }

  const unsubscribe = registry.onChange((change) => {
    if (!('own' in change) || !change.own || !isReady()) return
    const { member, kind } = change
    news.set(member.instanceId, kind === 'left' ? undefined : member)
    setImmediate(() => void say()) // what changes together is told together
  })
  const timer = setInterval(() => {
    peers.sweep()
    garbage = 0
    if (!isReady()) return
    if (state === 'alone') void join()
    else sayAllSoon()
  }, intervalMs).unref()

  replicating.set(0)
  redis.connect().catch(() => {}) // it goes on trying, and `error` has told

  return {
    connected: () => state === 'joined',
    peers: peers.count,
    async close() {
      unsubscribe()
      clearInterval(timer)
      closed = true
      alone()
      redis.disconnect()
    },
  }
}
