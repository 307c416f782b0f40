import { destination as openDestination, pino, stdTimeFunctions } from 'pino'
import { prettyLine } from './pretty.ts'
import { redact, redactText } from './redact.ts'
import type { Logger, LogLevel, LogMethod } from './silent-logger.ts'

export interface LogDestination {
  write(line: string): void
}

export interface LoggerOptions {
  readonly service: string
  readonly version: string
  /** Default `info`. */
  readonly level?: LogLevel
  /** Readable lines for a person instead of JSON; default false. */
  readonly pretty?: boolean
  /**
   * Default standard error, written synchronously so that the last words of a process are kept. While it takes nothing,
   * as on a full disk, up to 1 MiB waits and later lines are lost: the log never ends the process.
   */
  readonly destination?: LogDestination
  /** Fields of the call in progress: request_id, trace_id, span_id, user_id. Asked once per line. */
  readonly context?: () => Readonly<Record<string, string>> | undefined
}

const MAX_WAITING = 1024 * 1024

/** A logger of JSON lines, redacted (see `redact`) before they are serialised, so that no destination sees a secret. */
export function createLogger({
  service,
  version,
  level = 'info',
  pretty = false,
  destination = openDestination({ dest: 2, sync: true, maxLength: MAX_WAITING }).on('error', () => {}),
  context,
}: LoggerOptions): Logger {
  const root = pino(
    {
      level,
      base: { service, version },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Errors are plain objects by the time they get here.
      serializers: { err: (err) => err },
    },
    pretty ? { write: (line: string) => destination.write(prettyLine(line)) } : destination,
  )

  const wrap = (target: pino.Logger): Logger => {
    const at = (level: pino.Level): LogMethod => {
      return (first: object | string, message?: string) => {
        if (!root.isLevelEnabled(level)) return
        if (typeof first === 'string') {
          target[level](redact({ ...context?.() }), redactText(first))
          return
        }
        const fields = first instanceof Error ? { err: first } : first
        const text = message ?? (first instanceof Error ? first.message : undefined)
        target[level](redact({ ...context?.(), ...fields }), text === undefined ? text : redactText(text))
      }
    }
    return {
      get level() {
        return root.level as LogLevel
      },
      set level(level) {
        root.level = level
      },
      trace: at('trace'),
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      fatal: at('fatal'),
      // pino copies the level into a child; here the root alone decides, so that one switch reaches every child.
      child: (fields) => wrap(target.child(redact(fields) as pino.Bindings, { level: 'trace' })),
    }
  }
  return wrap(root)
}
