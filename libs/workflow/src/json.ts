/** JSON text that a jsonb column takes; undefined becomes null. @throws TypeError for what it cannot hold. */
export function jsonOf(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null'
  if (/(?<!\\)(\\\\)*\\u(0000|d[89a-f])/.test(text))
    throw new TypeError('a value holds the character U+0000 or half of a surrogate pair, which JSONB cannot')
  return text
}

/** A message from anywhere as a text or JSONB column takes it. */
export const storable = (text: string): string => text.replaceAll('\0', '').toWellFormed()
