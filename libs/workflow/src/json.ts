/** JSON text that a jsonb column takes; undefined becomes null. @throws TypeError for what it cannot hold. */
export function jsonOf(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null'
  if (/(?<!\\)(\\\\)*\\u0000/.test(text))
    throw new TypeError('a value holds the character U+0000, which JSONB cannot')
  return text
}

/** A message from anywhere as a text column takes it. */
export const storable = (text: string): string => text.replaceAll('\0', '')
