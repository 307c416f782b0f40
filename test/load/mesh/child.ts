// What the processes of the benchmark say to each other over IPC.

/** Microseconds of CPU that this process has used, whenever the parent asks. */
export function answerCpu(): void {
  process.on('message', (message: { kind: string }) => {
    if (message.kind !== 'cpu') return
    const { user, system } = process.cpuUsage()
    process.send?.({ kind: 'cpu', micros: user + system })
  })
}

export interface Round {
  readonly kind: 'round'
  readonly calls: number
  readonly seconds: number
  /** Milliseconds, sorted. */
  readonly latencies: readonly number[]
  readonly cpuMicros: number
}

export interface RoundRequest {
  readonly kind: 'run'
  readonly inFlight: number
  readonly ms: number
}
