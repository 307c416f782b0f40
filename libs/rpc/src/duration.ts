/** google.protobuf.Duration: whole seconds and the nanoseconds beside them. */
export interface Duration {
  readonly seconds: bigint
  readonly nanos: number
}

const NANOS_PER_SECOND = 1_000_000_000n

/** Milliseconds, to the nearest nanosecond. */
export function durationOf(ms: number): { seconds: bigint; nanos: number } {
  const nanos = BigInt(Math.round(ms * 1e6))
  return { seconds: nanos / NANOS_PER_SECOND, nanos: Number(nanos % NANOS_PER_SECOND) }
}

export const msOf = ({ seconds, nanos }: Duration): number => Number(seconds) * 1_000 + nanos / 1e6
