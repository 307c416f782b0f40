// RpcError ↔ the status objects of grpc-js, for code that works inside its channels.
import type * as grpc from '@grpc/grpc-js'
import type { RpcError } from './errors.ts'
import { toTransportError as failureOf } from './grpc-js-client.ts'
import { toGrpcMetadata } from './grpc-js-metadata.ts'
import { fromTransportError, toTransportError } from './status.ts'

/** The error that a call ended with, as docmesh's own clients see it; `status` is not OK. */
export const fromGrpcStatus = (status: grpc.StatusObject, method = ''): RpcError =>
  fromTransportError(failureOf({ ...status, name: 'Error', message: status.details }), method)

export function toGrpcStatus(error: RpcError): grpc.StatusObject {
  const { code, message, metadata } = toTransportError(error)
  return { code, details: message, metadata: toGrpcMetadata(metadata) }
}
