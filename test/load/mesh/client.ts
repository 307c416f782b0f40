// `node client.ts raw HOST:PORT` or `node client.ts mesh REGISTRY`: keeps a number of echo calls in flight for a while.
import { joinMesh } from '@docmesh/mesh'
import { createMetrics, silentLogger } from '@docmesh/telemetry'
import * as grpc from '@grpc/grpc-js'
import type { Round, RoundRequest } from './child.ts'
import { ECHO_PATH, EchoDefinition } from './echo.ts'

const [, , side = '', target = ''] = process.argv
const call = side === 'raw' ? rawCall(target) : meshCall(target)

process.on('message', async (request: RoundRequest) => {
  process.send?.(await run(request))
})
await call(Buffer.alloc(256, 7))
process.send?.({ kind: 'ready' })

async function run({ inFlight, ms }: RoundRequest): Promise<Round> {
  const latencies: number[] = []
  const cpu = process.cpuUsage()
  const begun = performance.now()
  const keepCalling = async (): Promise<void> => {
    const payload = Buffer.alloc(256, 7)
    for (let at = performance.now(); at - begun < ms; ) {
      const answer = await call(payload)
      if (answer.length !== payload.length) throw new Error('the echo differs')
      const now = performance.now()
      latencies.push(now - at)
      at = now
    }
  }
  await Promise.all(Array.from({ length: inFlight }, keepCalling))
  const seconds = (performance.now() - begun) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  return {
    kind: 'round',
    calls: latencies.length,
    seconds,
    latencies: latencies.sort((a, b) => a - b),
    cpuMicros: user + system,
  }
}

function rawCall(address: string): (payload: Buffer) => Promise<Uint8Array> {
  const client = new grpc.Client(address, grpc.credentials.createInsecure())
  const identity = (bytes: Buffer): Buffer => bytes
  return (payload) =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(ECHO_PATH, identity, identity, payload, (error, answer) => {
        if (error) reject(error)
        else resolve(answer as Buffer)
      })
    })
}

function meshCall(registry: string): (payload: Buffer) => Promise<Uint8Array> {
  const mesh = joinMesh({
    registryTargets: [registry],
    logger: silentLogger,
    metrics: createMetrics({ service: 'bench', version: '0' }),
  })
  const client = mesh.client(EchoDefinition, 'echo')
  return (payload) => client.echo(payload)
}
