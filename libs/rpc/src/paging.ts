import { invalidRequest, rpcError } from './errors.ts'

export interface PageRequest {
  readonly pageSize: number
  readonly pageToken: string
}

export interface Page<T> {
  readonly items: readonly T[]
  /** Empty on the last page. */
  readonly nextPageToken: string
}

const MAX_PAGE_SIZE = 1_000

/**
 * The page that a request asks for: its size, and the key of the last item of the page before ('' for the first page).
 * Throws INVALID_REQUEST for a size out of range, and INVALID_PAGE_TOKEN for a token that is not ours or whose key
 * `isKey` does not know: it may go into a query.
 */
export function readPage(
  { pageSize, pageToken }: PageRequest,
  isKey: (key: string) => boolean,
  defaultSize = 50,
): { size: number; after: string } {
  if (pageSize < 0 || pageSize > MAX_PAGE_SIZE) {
    throw invalidRequest([{ field: 'page_size', description: `write 0 to ${MAX_PAGE_SIZE}` }])
  }
  const after = Buffer.from(pageToken, 'base64url').toString()
  if (Buffer.from(after).toString('base64url') !== pageToken || (after !== '' && !isKey(after))) {
    throw rpcError('INVALID_PAGE_TOKEN', 'page_token is not one that this service gave.')
  }
  return { size: pageSize || defaultSize, after }
}

/** `found` holds one item more than the page when there is a next one. */
export function pageFrom<T>(found: readonly T[], size: number, keyOf: (item: T) => string): Page<T> {
  const items = found.slice(0, size)
  const last = items.at(-1)
  const more = found.length > size && last !== undefined
  return { items, nextPageToken: more ? Buffer.from(keyOf(last)).toString('base64url') : '' }
}
