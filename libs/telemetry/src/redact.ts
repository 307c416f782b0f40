const REDACTED = '[redacted]'
const MAX_DEPTH = 8

const SECRET_KEY =
  /passw(?:or)?d|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|credential|authorization|cookie/i

// The look-behinds keep a match from starting inside a token, which makes each pattern linear in the text: the text
// may come from a document that was written to be slow.
const URL_PASSWORD = /(?<=:\/\/)[^\s/@:]*:[^\s/]*(?=@)/g
const BEARER = /\b([Bb]earer|Basic) +[\w.~+/=-]{8,}/g
const EMAIL = /(?<![\p{L}\p{N}._%+-])[\p{L}\p{N}._%+-]+@[\p{L}\p{N}.-]+\.\p{L}{2,}/gu
/** CPF or CNPJ; since July 2026 the first twelve places of a CNPJ may hold letters, bare ones are matched as digits. */
const TAXPAYER =
  /\b(?:\d{3}\.\d{3}\.\d{3}-\d{2}|\d{9}-?\d{2}|([\dA-Z]{2}\.[\dA-Z]{3}\.[\dA-Z]{3}\/[\dA-Z]{4}-\d{2}|\d{14}))\b/gi

/** Replaces e-mail addresses, CPF and CNPJ numbers, and credentials in URLs and headers that stand in free text. */
export function redactText(text: string): string {
  let safe = text
  if (safe.includes('@')) safe = safe.replace(URL_PASSWORD, REDACTED).replace(EMAIL, '[email]')
  if (safe.includes(' ')) safe = safe.replace(BEARER, `$1 ${REDACTED}`)
  return safe.length < 11 ? safe : safe.replace(TAXPAYER, (_match, cnpj) => (cnpj ? '[cnpj]' : '[cpf]'))
}

/**
 * A copy of `value` that is safe to log: values under a secret-looking key are replaced, strings pass `redactText`,
 * errors become plain objects with their cause chain. Deeper than 8 levels and cycles are cut.
 */
export function redact(value: unknown): unknown {
  return copy(value, [])
}

function copy(value: unknown, ancestors: readonly object[]): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  if (ancestors.includes(value)) return '[circular]'
  if (ancestors.length >= MAX_DEPTH) return '[deep]'
  const path = [...ancestors, value]
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (value instanceof Error) return copyError(value, path)
  if (value instanceof Map) return copyEntries(value, path)
  if (Array.isArray(value) || value instanceof Set) return Array.from(value, (item) => copy(item, path))
  if ('toJSON' in value && typeof value.toJSON === 'function') return copy(value.toJSON(), path)
  return copyEntries(Object.entries(value), path)
}

function copyEntries(
  entries: Iterable<[unknown, unknown]>,
  path: readonly object[],
): Record<string, unknown> {
  const safe: Record<string, unknown> = {}
  for (const [key, value] of entries) {
    const name = String(key)
    safe[name] = SECRET_KEY.test(name) && value != null ? REDACTED : copy(value, path)
  }
  return safe
}

function copyError(error: Error, path: readonly object[]): Record<string, unknown> {
  return {
    type: error.name,
    message: redactText(error.message),
    stack: redactText(error.stack ?? ''),
    ...copyEntries(Object.entries(error), path),
    ...(error instanceof AggregateError && { errors: copy(error.errors, path) }),
    ...(error.cause !== undefined && { cause: copy(error.cause, path) }),
  }
}
