import { invalidRequest, rpcError } from '@docmesh/rpc'

const DEFAULT_SIZE = 50
const MAX_SIZE = 1_000

/** One page of a list sorted by `keyOf`; the token is the last key of the page before. */
export function pageOf<T>(
  sorted: readonly T[],
  keyOf: (item: T) => string,
  pageSize: number,
  pageToken: string,
): { readonly items: readonly T[]; readonly nextPageToken: string } {
  if (pageSize < 0 || pageSize > MAX_SIZE) {
    throw invalidRequest([{ field: 'page_size', description: `write 0 to ${MAX_SIZE}` }])
  }
  const after = Buffer.from(pageToken, 'base64url').toString()
  if (Buffer.from(after).toString('base64url') !== pageToken) {
    throw rpcError('INVALID_PAGE_TOKEN', 'page_token is not one that this service gave.')
  }
  const rest = after === '' ? sorted : sorted.filter((item) => keyOf(item) > after)
  const items = rest.slice(0, pageSize || DEFAULT_SIZE)
  const last = items.at(-1)
  return {
    items,
    nextPageToken:
      last !== undefined && items.length < rest.length ? Buffer.from(keyOf(last)).toString('base64url') : '',
  }
}
