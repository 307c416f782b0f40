import { endWithParent, type Round, type RoundRequest } from './child.ts'

const PAYLOAD_BYTES = 256

/** Says that it is ready after the first call, then keeps a number of calls in flight for a while, whenever asked. */
export async function serveRounds(call: (payload: Buffer) => Promise<number>): Promise<void> {
  endWithParent()
  process.on('message', async (request: RoundRequest) => {
    if (request.kind === 'run') process.send?.(await run(call, request))
  })
  await call(Buffer.alloc(PAYLOAD_BYTES, 7))
  process.send?.({ kind: 'ready', rssBytes: process.memoryUsage.rss() })
}

async function run(
  call: (payload: Buffer) => Promise<number>,
  { inFlight, ms }: RoundRequest,
): Promise<Round> {
  const latencies: number[] = []
  const cpu = process.cpuUsage()
  const begun = performance.now()
  const keepCalling = async (): Promise<void> => {
    const payload = Buffer.alloc(PAYLOAD_BYTES, 7)
    for (let at = performance.now(); at - begun < ms; ) {
      if ((await call(payload)) !== PAYLOAD_BYTES) throw new Error('the echo differs')
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
    rssBytes: process.memoryUsage.rss(),
  }
}
