import { invalidRequest, rpcError } from '@docmesh/rpc'

const DEFAULT_SIZE = 50
const MAX_SIZE = 1_000

/** @throws INVALID_REQUEST unless it is 0 to 1,000; 0 means 50. */
export function pageSizeOf(pageSize: number): number {
  if (pageSize < 0 || pageSize > MAX_SIZE)
    throw invalidRequest([{ field: 'page_size', description: `write 0 to ${MAX_SIZE}` }])
  return pageSize || DEFAULT_SIZE
}

/** The key in a page token, empty for the first page. @throws INVALID_PAGE_TOKEN unless `isKey` knows it. */
export function pageKeyOf(pageToken: string, isKey: RegExp): string {
  if (pageToken === '') return ''
  const key = Buffer.from(pageToken, 'base64url').toString()
  if (isKey.test(key) && tokenOf(key) === pageToken) return key
  throw rpcError('INVALID_PAGE_TOKEN', 'page_token is not one that this service gave.')
}

const tokenOf = (key: string): string => Buffer.from(key).toString('base64url')

/** One page out of `size + 1` items; the token is the key of its last one. */
export function pageOf<T>(items: readonly T[], size: number, keyOf: (item: T) => string) {
  const page = items.slice(0, size)
  const last = page.at(-1)
  return { page, nextPageToken: last !== undefined && items.length > size ? tokenOf(keyOf(last)) : '' }
}
