/** The database did not answer: nobody listens, it ends or starts, it has no connection left, or the connection broke. */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable'
}

/** Connection exceptions, shutdown and start-up, too many connections. */
const SQLSTATES = /^(08|57P0[1-3]$|53300$)/
const SYSTEM_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])
/** What pg says in words alone. */
const MESSAGES =
  /^Connection terminated|^timeout exceeded when trying to connect|is not queryable$|^Query read timeout$|^Cannot use a pool after/

/** The error itself, or DatabaseUnavailable in its place with the error as its cause. */
export function orUnavailable(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const code = 'code' in error ? String(error.code) : ''
  return SQLSTATES.test(code) || SYSTEM_CODES.has(code) || MESSAGES.test(error.message)
    ? new DatabaseUnavailable('The database does not answer.', { cause: error })
    : error
}
