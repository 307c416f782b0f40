/** A stream that is written to. */
export interface Sink {
  write(data: string | Uint8Array): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

/** Everything the command line touches of its process. */
export interface Io {
  /** For results alone. */
  readonly stdout: Sink
  /** For everything else. */
  readonly stderr: Sink
  readonly stdin: AsyncIterable<Uint8Array>
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborts when the user or the system asks the process to end. */
  readonly signal: AbortSignal
  /** Calls `fn` when the user asks again: the moment to end without manners. */
  onInsist(fn: () => void): void
}

/** Why our signal aborts when nobody takes what is written to stdout: no more is to be done, and nothing to be said. */
export class OutputGone extends Error {
  override readonly name = 'OutputGone'
}

/** What `work` resolves with. @throws the reason of `signal` as soon as that aborts. */
export const unlessAborted = <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
  Promise.race([
    work,
    aborted(signal).then((): never => {
      throw signal.reason
    }),
  ])

/** All of `stdin`. @throws the reason of the signal as soon as that aborts. */
export const readAll = async ({ stdin, signal }: Pick<Io, 'stdin' | 'signal'>): Promise<Buffer> =>
  Buffer.concat(await unlessAborted(Array.fromAsync(stdin), signal))

/** Resolves when `signal` aborts. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
