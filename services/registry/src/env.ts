import { dataEnv, integer, optional, text, url } from '@docmesh/service'

export const env = {
  ...dataEnv,
  /** Without it there are no traffic policies and no events; the mesh works the same. */
  databaseUrl: optional(dataEnv.databaseUrl),
  redisUrl: optional(
    url('REDIS_URL', ['redis', 'rediss'], {
      doc: 'Redis 6 or newer between the replicas of the registry; each answers alone when not set.',
    }),
  ),
  redisPrefix: text('REDIS_PREFIX', {
    fallback: 'docmesh',
    doc: 'Begins every channel and key in Redis; meshes that share a Redis need one each.',
  }),
  leaseTtlMs: integer('LEASE_TTL_MS', {
    fallback: '15000',
    min: 1_000,
    max: 600_000,
    doc: 'Milliseconds after which an instance without a heartbeat is delisted.',
  }),
  suspectGraceMs: integer('SUSPECT_GRACE_MS', {
    fallback: '2000',
    min: 0,
    max: 60_000,
    doc: 'Milliseconds that an instance whose stream broke has to come back.',
  }),
  healthIntervalMs: integer('HEALTH_INTERVAL_MS', {
    fallback: '10000',
    min: 100,
    max: 600_000,
    doc: 'Milliseconds between two health checks of an instance.',
  }),
  healthTimeoutMs: integer('HEALTH_TIMEOUT_MS', {
    fallback: '1000',
    min: 10,
    max: 60_000,
    doc: 'Milliseconds that a health check may take.',
  }),
  degradedLagMs: integer('DEGRADED_LAG_MS', {
    fallback: '1000',
    min: 10,
    max: 60_000,
    doc: 'Milliseconds of event-loop lag above which an instance counts as degraded.',
  }),
} as const
