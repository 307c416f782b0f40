import { readFileSync } from 'node:fs'
import { fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel as Level } from '@bufbuild/protobuf/wkt'
import type { Method } from '@docmesh/rpc'
import { notHedgeable } from '../hedge.ts'

/** Channels of grpc-js get messages as bytes. */
const BYTES = { encode: (bytes: unknown) => bytes as Uint8Array, decode: (bytes: Uint8Array) => bytes }

/** What is known of a method of a foreign service: nothing, so it may stream both ways and is never sent twice. */
function foreign(path: string): Method {
  const [, service = '', name = ''] = path.split('/')
  const idempotency = 'none'
  return {
    service,
    name,
    path,
    requestStream: true,
    responseStream: true,
    idempotency,
    request: BYTES,
    response: BYTES,
  }
}

/** Finds what the contract says of a method, by its path: `/docmesh.document.v1.DocumentService/GetDocument`. */
export function readContract(): (path: string) => Method {
  const methods = new Map<string, Method>()
  const image = readFileSync(new URL(import.meta.resolve('@docmesh/contracts/image')))
  for (const file of fromBinary(FileDescriptorSetSchema, image).file)
    for (const { name: serviceName, method } of file.service) {
      const service = `${file.package}.${serviceName}`
      for (const { name, clientStreaming, serverStreaming, options } of method) {
        const path = `/${service}/${name}`
        methods.set(path, {
          service,
          name,
          path,
          requestStream: clientStreaming,
          responseStream: serverStreaming,
          idempotency: IDEMPOTENCY[options?.idempotencyLevel ?? Level.IDEMPOTENCY_UNKNOWN],
          request: BYTES,
          response: BYTES,
        })
      }
    }
  return (path) => methods.get(path) ?? foreign(path)
}

const IDEMPOTENCY = {
  [Level.IDEMPOTENCY_UNKNOWN]: 'none',
  [Level.NO_SIDE_EFFECTS]: 'safe',
  [Level.IDEMPOTENT]: 'idempotent',
} as const

/** Of a service of docmesh, whose limits are known. */
export const isDocmesh = ({ service }: Method): boolean => service.startsWith('docmesh.')

export const isUnary = ({ requestStream, responseStream }: Method): boolean =>
  !requestStream && !responseStream

/**
 * Paths of the methods with these names: `docmesh.document.v1.DocumentService/GetDocument`.
 *
 * @throws RangeError if one of them is a stream, not idempotent, or not known.
 */
export function hedgedPaths(
  names: readonly string[],
  methodAt: (path: string) => Method,
): ReadonlySet<string> {
  return new Set(
    names.map((name) => {
      const method = methodAt(`/${name}`)
      if (!isUnary(method) || !isRepeatable(method)) throw notHedgeable(name)
      return method.path
    }),
  )
}

/** Whether it may be sent again after it was sent. */
export const isRepeatable = ({ requestStream, idempotency }: Method): boolean =>
  !requestStream && idempotency !== 'none'
