import { AnalysisServiceDefinition } from '@docmesh/contracts/analysis/v1/analysis'
import { BatchServiceDefinition } from '@docmesh/contracts/analysis/v1/batch'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { NotificationServiceDefinition } from '@docmesh/contracts/notification/v1/notification'
import { DiagnosticsServiceDefinition } from '@docmesh/contracts/ops/v1/diagnostics'
import { EventServiceDefinition } from '@docmesh/contracts/ops/v1/event'
import { JobServiceDefinition } from '@docmesh/contracts/ops/v1/job'
import { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import {
  createClient,
  grpcJsClient,
  grpcJsServer,
  type Handlers,
  type Implementation,
  implement,
  routesOf,
  rpcError,
  sendOver,
} from '@docmesh/rpc'
import type { Cli } from './cli.ts'
import type { Io } from './io.ts'
import type { MeshSession } from './mesh-session.ts'
import { runProgram } from './program.ts'

export interface TestServices {
  readonly documents?: Handlers<typeof DocumentServiceDefinition>
  readonly analyses?: Handlers<typeof AnalysisServiceDefinition>
  readonly batches?: Handlers<typeof BatchServiceDefinition>
  readonly jobs?: Handlers<typeof JobServiceDefinition>
  readonly events?: Handlers<typeof EventServiceDefinition>
  readonly notifications?: Handlers<typeof NotificationServiceDefinition>
  readonly registry?: Handlers<typeof RegistryServiceDefinition>
  readonly diagnostics?: Handlers<typeof DiagnosticsServiceDefinition>
}

/** A real gRPC server on loopback with these handlers. */
export async function serve(services: TestServices, more: readonly Implementation[] = []) {
  const implementations = [
    implement(DocumentServiceDefinition, services.documents ?? {}),
    implement(AnalysisServiceDefinition, services.analyses ?? {}),
    implement(BatchServiceDefinition, services.batches ?? {}),
    implement(JobServiceDefinition, services.jobs ?? {}),
    implement(EventServiceDefinition, services.events ?? {}),
    implement(NotificationServiceDefinition, services.notifications ?? {}),
    implement(RegistryServiceDefinition, services.registry ?? {}),
    implement(DiagnosticsServiceDefinition, services.diagnostics ?? {}),
    ...more,
  ]
  return grpcJsServer.listen(
    '127.0.0.1:0',
    implementations.flatMap((implementation) => routesOf(implementation, [])),
  )
}

/** A session whose clients all talk to one server, without a registry in between. */
export async function sessionWith(services: TestServices): Promise<MeshSession> {
  const listener = await serve(services)
  const connection = grpcJsClient.connect(listener.address)
  const send = sendOver(connection)
  const diagnostics = createClient(DiagnosticsServiceDefinition, send)
  return {
    documents: createClient(DocumentServiceDefinition, send),
    analyses: createClient(AnalysisServiceDefinition, send),
    batches: createClient(BatchServiceDefinition, send),
    jobs: createClient(JobServiceDefinition, send),
    events: createClient(EventServiceDefinition, send),
    notifications: createClient(NotificationServiceDefinition, send),
    registry: createClient(RegistryServiceDefinition, send),
    diagnose: () => Promise.reject(rpcError('NO_ENDPOINT', 'no diagnostics here')),
    meshView: (_, request) => diagnostics.getMeshView(request),
    awaitServices: async () => {},
    async close() {
      connection.close()
      await listener.close(0)
    },
  }
}

export interface TestIo {
  readonly io: Io
  readonly out: () => string
  readonly err: () => string
  /** What Ctrl-C does. */
  readonly interrupt: () => void
}

export interface TestIoOptions {
  readonly env?: Readonly<Record<string, string>>
  /** What comes in; a function is asked for it when somebody reads. */
  readonly stdin?: string | (() => AsyncIterable<Uint8Array>)
  readonly terminal?: boolean
  /** Hears everything that is written to stderr. */
  readonly onErr?: (text: string) => void
}

export function testIo({ env = {}, stdin = '', terminal = false, onErr }: TestIoOptions = {}): TestIo {
  const out: Buffer[] = []
  const err: Buffer[] = []
  const asked = new AbortController()
  return {
    io: {
      stdout: { write: (data) => out.push(Buffer.from(data)), isTTY: terminal },
      stderr: {
        write(data) {
          err.push(Buffer.from(data))
          onErr?.(String(data))
        },
        isTTY: terminal,
      },
      stdin: (async function* () {
        if (typeof stdin === 'string') yield Buffer.from(stdin)
        else yield* stdin()
      })(),
      env: { DOCMESH_HOME: '/nonexistent/docmesh', ...env },
      signal: asked.signal,
      onInsist: () => {},
    },
    out: () => Buffer.concat(out).toString(),
    err: () => Buffer.concat(err).toString(),
    interrupt: () => asked.abort(),
  }
}

/** As a terminal at which Ctrl-C is pressed instead of an answer. */
export function ioInterruptedAtInput(options: TestIoOptions = {}): TestIo {
  const io = testIo({
    ...options,
    stdin: async function* () {
      io.interrupt()
      await new Promise(() => {})
      yield Buffer.from('never')
    },
  })
  return io
}

export interface Ran {
  readonly exitCode: number
  readonly out: string
  readonly err: string
}

const NO_MESH: Pick<Cli, 'connect' | 'startMesh'> = {
  connect: () => Promise.reject(new Error('this test has no mesh')),
  startMesh: () => Promise.reject(new Error('this test starts no mesh')),
}

/** Runs `docmesh ARGS` against these services. */
export async function docmesh(
  args: readonly string[],
  {
    services,
    io = testIo(),
    ...deps
  }: { services?: TestServices; io?: TestIo } & Partial<Omit<Cli, 'io'>> = {},
): Promise<Ran> {
  const connect = services ? () => sessionWith(services) : NO_MESH.connect
  const exitCode = await runProgram(args, { ...NO_MESH, connect, ...deps, io: io.io })
  return { exitCode, out: io.out(), err: io.err() }
}
