import * as grpc from '@grpc/grpc-js'
import type { Metadata } from './metadata.ts'

/** Messages are encoded above the transport: grpc-js only carries bytes, and wants them as a Buffer. */
export const serialize = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export const deserialize = (bytes: Buffer): Buffer => bytes

export function toGrpcMetadata(metadata: Metadata): grpc.Metadata {
  const out = new grpc.Metadata()
  for (const key in metadata) {
    const value = metadata[key]
    if (typeof value === 'string') out.set(key, value)
    else if (value) out.set(key, serialize(value))
  }
  return out
}

/** The first value of each key. */
export const fromGrpcMetadata = (metadata: grpc.Metadata): Metadata => metadata.getMap()
