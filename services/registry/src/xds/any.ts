import type { Any } from '@docmesh/contracts/google/protobuf/any'

/** An encoded message with its type. */
export const any = (typeUrl: string, bytes: Uint8Array): Any => ({
  typeUrl,
  value: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
})
