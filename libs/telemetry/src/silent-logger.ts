export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

/** Writes one line. An `Error` as the first argument is logged under `err`, with its causes. */
export interface LogMethod {
  (fields: object, message?: string): void
  (message: string): void
}

export interface Logger {
  /** Lowest level that is written. Setting it takes effect at once, also for the parent and every child. */
  level: LogLevel
  readonly trace: LogMethod
  readonly debug: LogMethod
  readonly info: LogMethod
  readonly warn: LogMethod
  readonly error: LogMethod
  readonly fatal: LogMethod
  /** A logger whose lines also carry `fields`. */
  child(fields: object): Logger
}

const silence: LogMethod = () => {}

/** Writes nothing. */
export const silentLogger: Logger = {
  level: 'silent',
  trace: silence,
  debug: silence,
  info: silence,
  warn: silence,
  error: silence,
  fatal: silence,
  child: () => silentLogger,
}
