import { Code, ERRORS, type FieldViolation, type Reason, RpcError } from '@docmesh/rpc'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { plain } from './render/text.ts'

/** A failure that the command line found itself; whatever a service said stays an RpcError. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly exitCode: ExitCode
  /** What the user can do. */
  readonly hint: string

  constructor(exitCode: ExitCode, what: string, hint: string, options?: ErrorOptions) {
    super(what, options)
    this.exitCode = exitCode
    this.hint = hint
  }
}

export interface Failure {
  readonly exitCode: ExitCode
  readonly what: string
  readonly hint: string
  readonly fields: readonly FieldViolation[]
}

const REFUSED: readonly string[] = [
  'EMPTY_DOCUMENT',
  'UNSUPPORTED_TYPE',
  'CHECKSUM_MISMATCH',
  'SIZE_MISMATCH',
  'DOCUMENT_TOO_LARGE',
  'DOCUMENT_UNREADABLE',
] satisfies readonly Reason[]

/** Whether a reason of the catalogue speaks of the document, not of docmesh. */
export const refusesDocument = (reason: string): boolean => REFUSED.includes(reason)

const USAGE_CODES: readonly Code[] = [
  Code.INVALID_ARGUMENT,
  Code.NOT_FOUND,
  Code.ALREADY_EXISTS,
  Code.OUT_OF_RANGE,
]

function exitCodeOf({ code, reason }: RpcError): ExitCode {
  if (refusesDocument(reason)) return EXIT.document
  if (USAGE_CODES.includes(code)) return EXIT.usage
  return code === Code.UNAVAILABLE ? EXIT.unreachable : EXIT.failed
}

/** What the catalogue advises; nothing where it only points back at the message. */
export const helpFor = (reason: string): string =>
  reason === 'DOCUMENT_UNREADABLE' ? '' : (ERRORS[reason as Reason]?.help ?? '')

const withWait = (hint: string, retryAfterMs: number | undefined): string =>
  retryAfterMs === undefined ? hint : `${hint} Try again in ${Math.ceil(retryAfterMs / 1_000)} s.`.trim()

const TOO_LATE: Failure = {
  exitCode: EXIT.unreachable,
  what: 'the mesh did not answer in time',
  hint: 'give it more with --timeout; `docmesh status` shows how it is',
  fields: [],
}

const LOST: Failure = {
  exitCode: EXIT.unreachable,
  what: 'the connection to the mesh was refused or lost',
  hint: '`docmesh status` shows whether it is there',
  fields: [],
}

/** What to tell the user of anything that was thrown. */
export function failureOf(error: unknown, interrupted = false): Failure {
  if (interrupted) return { exitCode: EXIT.interrupted, what: 'interrupted', hint: '', fields: [] }
  if (error instanceof CliError)
    return { exitCode: error.exitCode, what: error.message, hint: error.hint, fields: [] }
  if (error instanceof RpcError) {
    if (error.code === Code.DEADLINE_EXCEEDED) return TOO_LATE
    if (error.remote?.connectionFailed) return LOST
    const { retryAfterMs } = error.options
    // Its message is the fields in one line; every other reason says more in its own words.
    const fields = error.reason === 'INVALID_REQUEST' ? (error.options.fields ?? []) : []
    return {
      exitCode: exitCodeOf(error),
      what: fields.length > 0 ? 'the request is not valid' : plain(error.message),
      hint: withWait(helpFor(error.reason), retryAfterMs),
      fields,
    }
  }
  const what = error instanceof Error ? error.message : String(error)
  return { exitCode: EXIT.failed, what, hint: '--verbose shows where it comes from', fields: [] }
}

const sentence = (text: string): string => text.trim().replace(/\.$/, '')

/** `docmesh: <what> (<what to do>)`, then one line for each wrong field. */
export const failureText = ({ what, hint, fields }: Failure): string =>
  [
    `docmesh: ${sentence(what)}${hint && ` (${sentence(hint)})`}`,
    ...fields.map(({ field, description }) => `  ${field}: ${description}`),
    '',
  ].join('\n')
