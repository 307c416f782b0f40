import { integer } from '@docmesh/service'

export const env = {
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
} as const
