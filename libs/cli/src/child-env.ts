import { join } from 'node:path'

export interface ChildEnvSource {
  readonly user: Readonly<Record<string, string | undefined>>
  /** `host:port` of the registry. */
  readonly registry: string
  /** The embedded server; undefined leaves the user's DATABASE_URL. */
  readonly databaseUrl: string | undefined
  readonly dataDir: string
}

/** Speak of one process, or of the tool that started us: no child may inherit them. */
const OF_ONE_PROCESS =
  /^(npm_|NODE_CHANNEL_|NODE_OPTIONS$|INIT_CWD$|GRPC_LISTEN$|ADMIN_LISTEN$|ADVERTISE_ADDRESS$)/

const ANY_PORT = '127.0.0.1:0'
/** On one machine nobody waits half a minute for calls in flight. */
const SHUTDOWN_GRACE_MS = '5000'

/** Environment of one service: the user's settings, and the addresses that belong to this mesh. */
export function childEnv(
  service: string,
  { user, registry, databaseUrl, dataDir }: ChildEnvSource,
): Record<string, string> {
  const inherited = Object.entries(user).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !OF_ONE_PROCESS.test(entry[0]),
  )
  return {
    SHUTDOWN_GRACE_MS,
    // Starts faster, with a third less memory: the code is compiled, and its types are stripped, once only.
    NODE_COMPILE_CACHE: join(dataDir, 'compile-cache'),
    ...Object.fromEntries(inherited),
    GRPC_LISTEN: service === 'registry' ? registry : ANY_PORT,
    ADMIN_LISTEN: ANY_PORT,
    REGISTRY_TARGET: registry,
    ...(databaseUrl && { DATABASE_URL: databaseUrl }),
    ...(service === 'document' && { BLOB_DIR: join(dataDir, 'blobs') }),
  }
}
