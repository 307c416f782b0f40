import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ClientStatusDiscoveryServiceDefinition } from '@docmesh/contracts/envoy/service/status/v3/csds'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { createClient, grpcJsClient, sendOver } from '@docmesh/rpc'
import { freePort, testDatabase } from '@docmesh/testing'

const REGISTRY = new URL('../../services/registry/src/main.ts', import.meta.url)
const BACKEND = new URL('backend.ts', import.meta.url)
const DOCMESH = new URL('../../libs/cli/src/main.ts', import.meta.url)

/** A registry and instances of `echo`, as processes of their own. */
export async function startXdsMesh() {
  const database = await testDatabase()
  const address = `127.0.0.1:${await freePort()}`
  const children = new Set<ChildProcess>()
  const connection = grpcJsClient.connect(address)
  const send = sendOver(connection)

  async function start(script: URL, args: readonly string[], env = {}): Promise<ChildProcess> {
    const child = fork(script, args, { env: { ...process.env, LOG_LEVEL: 'error', ...env } })
    children.add(child)
    child.once('exit', () => children.delete(child))
    const exited = once(child, 'exit').then(([code]) => {
      throw new Error(`${script.pathname} has ended with ${code}`)
    })
    await Promise.race([once(child, 'message'), exited])
    exited.catch(() => {}) // it may end later: then somebody has asked for it
    return child
  }

  return {
    startRegistry: () =>
      start(REGISTRY, [], {
        GRPC_LISTEN: address,
        REGISTRY_TARGET: address,
        DATABASE_URL: database.url,
        DATABASE_POOL_MAX: '3',
      }),
    startEcho: (instanceId: string, version: string) => start(BACKEND, [address, instanceId, version]),
    registry: createClient(RegistryServiceDefinition, send),
    status: createClient(ClientStatusDiscoveryServiceDefinition, send),
    /** Writes what `docmesh xds-bootstrap` prints for a node. */
    async bootstrap(folder: string, node: string): Promise<string> {
      const file = join(folder, `${node}.json`)
      const command = [fileURLToPath(DOCMESH), 'xds-bootstrap', '--registry', address]
      await promisify(execFile)(process.execPath, [...command, '--node', node, '--output', file])
      return file
    },
    async close(): Promise<void> {
      connection.close()
      const exits = [...children].map((child) => once(child, 'exit'))
      for (const child of children) child.kill('SIGKILL')
      await Promise.all(exits)
      await database.close()
    },
  }
}

export type XdsMesh = Awaited<ReturnType<typeof startXdsMesh>>
