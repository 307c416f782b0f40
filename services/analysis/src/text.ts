// What callers write, on its way into the database and back to them.
import { type FieldViolation, invalidRequest } from '@docmesh/rpc'

/** UTF-16 code units of a name or of the id of a request. */
export const MAX_TEXT = 255

/** What is wrong with it, as nobody needs so much and PostgreSQL takes no NUL; none when it fits. */
export const textFaults = (field: string, text: string, max = MAX_TEXT): FieldViolation[] =>
  text.length <= max && !text.includes('\0')
    ? []
    : [{ field, description: `at most ${max} characters, without U+0000` }]

/** Throws INVALID_REQUEST. */
export function checkText(field: string, text: string, max = MAX_TEXT): void {
  const faults = textFaults(field, text, max)
  if (faults.length > 0) throw invalidRequest(faults)
}

/** A caller's words as an error may repeat them and still have room for what helps: a status has little. */
export const repeated = (text: string): string =>
  text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1).toWellFormed()}…`
