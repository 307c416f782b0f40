// A stock grpc-js client that knows the mesh from xDS alone, as a process of its own: a faulty resource ends it. Takes
// one order per line on stdin, `{"target", "calls", "headers"}`, makes that many calls of GetDiagnostics one after the other,
// and answers with a line of counts by who answered: `{"counts": {"1.0.0 echo-1": 9, "UNAVAILABLE …": 1}, "ms"}`.
import { createInterface } from 'node:readline'
import { GetDiagnosticsResponse } from '@docmesh/contracts/ops/v1/diagnostics'
import * as grpc from '@grpc/grpc-js'
import { register } from '@grpc/grpc-js-xds'

interface Order {
  readonly target: string
  readonly calls: number
  readonly headers?: Readonly<Record<string, string>>
}

const TIMEOUT_MS = 5_000

register()
const clients = new Map<string, grpc.Client>()
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await carryOut(JSON.parse(line)))}\n`)
}
process.exit(0)

async function carryOut({ target, calls, headers = {} }: Order) {
  const client = clients.get(target) ?? new grpc.Client(target, grpc.credentials.createInsecure())
  clients.set(target, client)
  const counts: Record<string, number> = {}
  const begun = performance.now()
  for (let call = 0; call < calls; call++) {
    const answer = await ask(client, headers)
    counts[answer] = (counts[answer] ?? 0) + 1
  }
  return { counts, ms: Math.round(performance.now() - begun) }
}

function ask(client: grpc.Client, headers: Readonly<Record<string, string>>): Promise<string> {
  const metadata = new grpc.Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      '/docmesh.ops.v1.DiagnosticsService/GetDiagnostics',
      () => Buffer.alloc(0),
      (bytes: Buffer) => GetDiagnosticsResponse.decode(bytes).process,
      undefined,
      metadata,
      { deadline: Date.now() + TIMEOUT_MS },
      (error, info) =>
        resolve(
          error ? `${grpc.status[error.code]} ${error.details}` : `${info?.version} ${info?.instanceId}`,
        ),
    )
  })
}
