import type { Metadata } from './metadata.ts'
import type { Method } from './method.ts'

/** One call as the layers see it, on both sides of the wire. */
export interface Call {
  readonly method: Method
  readonly metadata: Metadata
  /** Epoch milliseconds. */
  readonly deadline: number
  readonly signal: AbortSignal | undefined
  /** One message, or an AsyncIterable of messages when the method's requests are a stream. */
  readonly request: unknown
}

/** Answers with one message, or with an AsyncIterable of messages when the method's responses are a stream. */
export type Next = (call: Call) => Promise<unknown>

/**
 * Wraps a call. A layer may change the call on the way in, the answer on the way out, or answer by itself. The first
 * layer of a list is the outermost.
 */
export type Layer = (next: Next) => Next

export const compose = (layers: readonly Layer[], inner: Next): Next =>
  layers.reduceRight((next, layer) => layer(next), inner)

/**
 * Calls `done` once when a call has ended, whatever its shape: for a streamed answer that is when the stream ends, fails
 * or is left by its reader.
 */
export const settle = (
  { responseStream }: Method,
  answer: Promise<unknown>,
  done: (error: unknown) => void,
): Promise<unknown> =>
  answer.then(
    (value) => {
      if (responseStream) return observed(value as AsyncIterable<unknown>, done)
      done(undefined)
      return value
    },
    (error: unknown) => {
      done(error)
      throw error
    },
  )

async function* observed(
  stream: AsyncIterable<unknown>,
  done: (error: unknown) => void,
): AsyncIterable<unknown> {
  let failure: unknown
  try {
    yield* stream
  } catch (error) {
    failure = error
    throw error
  } finally {
    done(failure)
  }
}
