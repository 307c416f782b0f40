/** Call metadata: lower-case keys; keys ending in `-bin` hold bytes, all others ASCII text. One value per key. */
export type Metadata = Record<string, string | Uint8Array>

export const textOf = (metadata: Metadata, key: string): string => {
  const value = metadata[key]
  return typeof value === 'string' ? value : ''
}
