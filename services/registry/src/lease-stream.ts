/** What an instance says and what the registry wants of it, in one sequence. */
export interface Interruptible<T, I> extends AsyncIterable<T | I> {
  /** Comes before the next message; only the latest few are kept. */
  interrupt(value: I): void
  /** Ends the sequence with this error. */
  fail(error: Error): void
}

/** Interruptions that wait for a reader who does not come. */
const WAITING = 16

/** The messages of `source`, one at a time, with interruptions between them. */
export function interruptible<T, I>(source: AsyncIterable<T>): Interruptible<T, I> {
  const interruptions: I[] = []
  let failure: Error | undefined
  let wake = (): void => {}

  async function* sequence(): AsyncGenerator<T | I> {
    const iterator = source[Symbol.asyncIterator]()
    let arrived: IteratorResult<T> | undefined
    let reading = false
    try {
      for (;;) {
        if (failure) throw failure
        const interruption = interruptions.shift()
        if (interruption !== undefined) yield interruption
        else if (arrived) {
          if (arrived.done) return
          const { value } = arrived
          arrived = undefined
          yield value
        } else {
          if (!reading) {
            reading = true
            void iterator.next().then(
              (result) => {
                reading = false
                arrived = result
                wake()
              },
              (error: Error) => {
                failure ??= error
                wake()
              },
            )
          }
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        }
      }
    } finally {
      // Not awaited: it may hang on a message that never comes.
      void iterator.return?.()?.catch(() => {})
    }
  }

  return {
    [Symbol.asyncIterator]: sequence,
    interrupt(value) {
      interruptions.push(value)
      if (interruptions.length > WAITING) interruptions.shift()
      wake()
    },
    fail(error) {
      failure ??= error
      wake()
    },
  }
}
