import { address, addresses, type EnvOf, integer, oneOf, optional, text, url } from './env.ts'

/** What every service reads. */
export const baseEnv = {
  grpcListen: address('GRPC_LISTEN', {
    fallback: '127.0.0.1:0',
    doc: 'host:port for gRPC; port 0 takes a free one.',
  }),
  adminListen: address('ADMIN_LISTEN', {
    fallback: '127.0.0.1:0',
    doc: 'host:port for /livez, /readyz, /startupz, /health and /metrics.',
  }),
  advertiseAddress: optional(
    address('ADVERTISE_ADDRESS', {
      doc: 'host:port that other services dial; the bound address when not set.',
    }),
  ),
  registryTarget: addresses('REGISTRY_TARGET', {
    fallback: '127.0.0.1:7400',
    doc: 'Replicas of the registry, host:port with commas between them.',
  }),
  meshSnapshotDir: optional(
    text('MESH_SNAPSHOT_DIR', {
      doc: 'Directory where the last known state of the mesh is kept, for a start while the registry is down.',
    }),
  ),
  environment: oneOf('DOCMESH_ENV', ['development', 'staging', 'production'], {
    fallback: 'development',
    doc: 'Sets defaults such as the share of traces.',
  }),
  logLevel: oneOf('LOG_LEVEL', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    fallback: 'info',
    doc: 'Least severe log line that is written.',
  }),
  zone: optional(text('ZONE', { doc: 'Zone of this instance, for locality.' })),
  shutdownGraceMs: integer('SHUTDOWN_GRACE_MS', {
    fallback: '30000',
    min: 0,
    max: 600_000,
    doc: 'Milliseconds for calls in flight when the process is asked to end.',
  }),
} as const

export type BaseEnv = EnvOf<typeof baseEnv>

/** For services that keep state and tell others of it. */
export const dataEnv = {
  databaseUrl: url('DATABASE_URL', ['postgres', 'postgresql'], {
    doc: 'PostgreSQL, postgres://user:password@host:port/database.',
  }),
  databasePoolMax: integer('DATABASE_POOL_MAX', {
    fallback: '10',
    min: 2,
    max: 1_000,
    doc: 'Most connections of this instance to PostgreSQL, besides up to four that listen and, in analysis, five of the workflow engine; all instances share its max_connections.',
  }),
  natsUrl: optional(
    url('NATS_URL', ['nats', 'tls'], { doc: 'NATS with JetStream; events go over PostgreSQL when not set.' }),
  ),
  natsStream: text('NATS_STREAM', {
    fallback: 'DOCMESH',
    doc: 'JetStream stream of the events; meshes that share a NATS server need one each.',
  }),
} as const
