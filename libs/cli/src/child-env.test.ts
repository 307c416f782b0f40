import { expect, it } from 'vitest'
import { childEnv } from './child-env.ts'

const source = {
  user: {
    PATH: '/bin',
    LOG_LEVEL: 'debug',
    NATS_URL: 'nats://n:4222',
    npm_config_loglevel: 'silent',
    NODE_OPTIONS: '--inspect',
    GRPC_LISTEN: '0.0.0.0:1',
    ADVERTISE_ADDRESS: 'host:1',
    REGISTRY_TARGET: 'elsewhere:7400',
    UNSET: undefined,
  },
  registry: '127.0.0.1:7455',
  databaseUrl: 'postgres://postgres@127.0.0.1:5/postgres',
  dataDir: '/data',
}

it('hands on the settings of the user, not what belongs to one process or to npm', () => {
  const env = childEnv('document', source)
  expect(env).toMatchObject({ PATH: '/bin', LOG_LEVEL: 'debug', NATS_URL: 'nats://n:4222' })
  for (const name of ['npm_config_loglevel', 'NODE_OPTIONS', 'ADVERTISE_ADDRESS', 'UNSET'])
    expect(env).not.toHaveProperty(name)
})

it('lets the registry listen where all look for it, and the others on free ports', () => {
  expect(childEnv('registry', source)).toMatchObject({
    GRPC_LISTEN: '127.0.0.1:7455',
    REGISTRY_TARGET: '127.0.0.1:7455',
  })
  expect(childEnv('analysis', source)).toMatchObject({
    GRPC_LISTEN: '127.0.0.1:0',
    ADMIN_LISTEN: '127.0.0.1:0',
    REGISTRY_TARGET: '127.0.0.1:7455',
  })
})

it('names the embedded database, or leaves the one of the user', () => {
  expect(childEnv('document', source).DATABASE_URL).toBe(source.databaseUrl)
  const user = { DATABASE_URL: 'postgres://mine' }
  expect(childEnv('document', { ...source, user, databaseUrl: undefined }).DATABASE_URL).toBe(
    'postgres://mine',
  )
})

it('gives the blob folder to the document service alone', () => {
  expect(childEnv('document', source).BLOB_DIR).toBe('/data/blobs')
  expect(childEnv('analysis', source)).not.toHaveProperty('BLOB_DIR')
})

it('shortens the grace for calls in flight unless the user chose one', () => {
  expect(childEnv('analysis', source).SHUTDOWN_GRACE_MS).toBe('5000')
  expect(childEnv('analysis', { ...source, user: { SHUTDOWN_GRACE_MS: '1' } }).SHUTDOWN_GRACE_MS).toBe('1')
})

it('keeps compiled code in the data folder unless the user chose another place', () => {
  expect(childEnv('analysis', source).NODE_COMPILE_CACHE).toBe('/data/compile-cache')
  const user = { NODE_COMPILE_CACHE: '/tmp/code' }
  expect(childEnv('analysis', { ...source, user }).NODE_COMPILE_CACHE).toBe('/tmp/code')
})
