import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * What a server call hands down to everything that runs because of it, client calls included: who asked, until when,
 * and whether it still matters.
 */
export interface CallContext {
  readonly requestId: string
  readonly userId: string
  readonly tenantId: string
  /** Epoch milliseconds; Infinity when nobody set one. */
  readonly deadline: number
  readonly signal: AbortSignal
}

const storage = new AsyncLocalStorage<CallContext>()

/** The server call that is being handled, if any. */
export const currentCall = (): CallContext | undefined => storage.getStore()

export const runInCall = <Args extends unknown[], T>(
  context: CallContext,
  fn: (...args: Args) => T,
  ...args: Args
): T => storage.run(context, fn, ...args)

/** Runs `fn` outside of any call: work that outlives the request must not inherit its deadline. */
export const runDetached = <T>(fn: () => T): T => storage.exit(fn)
