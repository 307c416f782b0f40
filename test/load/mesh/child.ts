// What the processes of the benchmark say to each other over IPC.

/** Ends with its parent, in order: then Node keeps the compiled code for the next run, if NODE_COMPILE_CACHE is set. */
export const endWithParent = (): unknown => process.once('disconnect', () => process.exit(0))

/** Microseconds of CPU that this process has used, whenever the parent asks. */
export function answerCpu(): void {
  process.on('message', (message: { kind: string }) => {
    if (message.kind !== 'cpu') return
    const { user, system } = process.cpuUsage()
    process.send?.({ kind: 'cpu', micros: user + system, rssBytes: process.memoryUsage.rss() })
  })
}

export interface Round {
  readonly kind: 'round'
  readonly calls: number
  readonly seconds: number
  /** Milliseconds, sorted. */
  readonly latencies: readonly number[]
  readonly cpuMicros: number
  /** Resident memory of the client when the round ended. */
  readonly rssBytes: number
}

export interface RoundRequest {
  readonly kind: 'run'
  readonly inFlight: number
  readonly ms: number
}
