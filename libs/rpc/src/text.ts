// What callers write, on its way into a database.
import { type FieldViolation, invalidRequest } from './errors.ts'

/** UTF-16 code units of a name, or of an id that a caller gives. */
const MAX_TEXT = 255

/** What is wrong with it: nobody needs so much, no index takes it, and PostgreSQL has no NUL. None when it fits. */
export const textFaults = (field: string, text: string, max = MAX_TEXT): FieldViolation[] =>
  text.length <= max && !text.includes('\0')
    ? []
    : [{ field, description: `at most ${max} characters, without U+0000` }]

/** @throws INVALID_REQUEST that names the field. `max` in UTF-16 code units, default 255. */
export function checkText(field: string, text: string, max?: number): void {
  const faults = textFaults(field, text, max)
  if (faults.length > 0) throw invalidRequest(faults)
}
