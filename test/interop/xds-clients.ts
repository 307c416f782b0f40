import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const root = join(import.meta.dirname, '../..')
const GRPC_JS = join(root, 'services/registry/src/xds/grpc-js-client.fixture.ts')

export interface Order {
  readonly target: string
  readonly calls: number
}

export interface Answer {
  /** Calls by who answered, `VERSION INSTANCE`, or how they failed, `CODE MESSAGE`. */
  readonly counts: Readonly<Record<string, number>>
  readonly ms: number
}

/** A process with a stock gRPC client that knows nothing but a bootstrap file. */
export interface XdsClient {
  readonly name: string
  ask(order: Order): Promise<Answer>
  close(): Promise<void>
}

export interface Programs {
  readonly python: string
  readonly ruby: string | undefined
  /** The C++ client, built. */
  readonly cpp: string | undefined
  /** Folder of the code that protoc has generated. */
  readonly generated: string
  bootstrap(node: string): Promise<string>
}

export const startPython = async ({ python, generated, bootstrap }: Programs): Promise<XdsClient> =>
  start('python', python, [join(import.meta.dirname, 'xds_client.py'), generated], await bootstrap('python'))

export const startRuby = async (ruby: string, { generated, bootstrap }: Programs): Promise<XdsClient> =>
  start('ruby', ruby, [join(import.meta.dirname, 'xds_client.rb'), generated], await bootstrap('ruby'))

export const startCpp = async (cpp: string, { bootstrap }: Programs): Promise<XdsClient> =>
  start('cpp', cpp, [], await bootstrap('cpp'))

export const startGrpcJs = async ({ bootstrap }: Programs): Promise<XdsClient> =>
  start('grpc_js', process.execPath, [GRPC_JS], await bootstrap('grpc-js'))

function start(name: string, command: string, args: readonly string[], bootstrap: string): XdsClient {
  const child = spawn(command, args, {
    env: { ...process.env, GRPC_XDS_BOOTSTRAP: bootstrap, GRPC_VERBOSITY: 'NONE' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  child.stdin.on('error', () => {}) // it has ended: that its answer is missing says so
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    name,
    async ask(order) {
      child.stdin.write(`${JSON.stringify(order)}\n`)
      const { value, done } = await lines.next()
      if (done) throw new Error(`${name} has ended with ${child.exitCode ?? child.signalCode}`)
      return JSON.parse(value) as Answer
    },
    async close() {
      child.stdin.end()
      await exited
    },
  }
}
