import { type RpcError, rpcError } from './errors.ts'
import type { Metadata } from './metadata.ts'

/** Bytes of names and values, with 32 for each entry (RFC 9113, 6.5.2); gRPC's default limit. */
const MAX_METADATA_BYTES = 16 * 1024

/**
 * Asked on both sides. The server cannot answer everything: of a value with more than 64 KiB on the wire, or a block with
 * more than 8 CONTINUATION frames (144 KiB), nghttp2 makes an error of the connection, and all calls on it break. Its
 * limits are constants. So whoever sends has to look before.
 */
export function isMetadataTooLarge(metadata: Metadata): boolean {
  let bytes = 0
  for (const key in metadata) bytes += key.length + (metadata[key]?.length ?? 0) + 32
  return bytes > MAX_METADATA_BYTES
}

export const metadataTooLarge = (): RpcError =>
  rpcError('METADATA_TOO_LARGE', `The metadata of a call may have ${MAX_METADATA_BYTES} bytes.`)
