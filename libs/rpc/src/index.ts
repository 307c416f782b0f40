export { admitLayer } from './admit.ts'
export { ERROR_KINDS, ERRORS, type ErrorKind, type Reason } from './catalogue.ts'
export { type CallOptions, type Client, createClient, sendOver } from './client.ts'
export { Code, codeName } from './codes.ts'
export { type CallContext, currentCall, runDetached, runInCall } from './context.ts'
export { deadlineLayer } from './deadline.ts'
export { type Duration, durationOf, msOf } from './duration.ts'
export { type FieldViolation, invalidRequest, RpcError, type RpcErrorOptions, rpcError } from './errors.ts'
export { createGrpcJsClient, type GrpcJsClientOptions, grpcJsClient } from './grpc-js-client.ts'
export { grpcJsServer } from './grpc-js-server.ts'
export { fromGrpcStatus, toGrpcStatus } from './grpc-js-status.ts'
export { createHealthService, type HealthService } from './health.ts'
export { type Call, compose, type Layer, type Next, settle } from './layer.ts'
export type { Metadata } from './metadata.ts'
export { isMetadataTooLarge, metadataTooLarge } from './metadata-limit.ts'
export {
  type Encoded,
  encodeOnce,
  type Method,
  type MethodDefinition,
  type ServiceDefinition,
} from './method.ts'
export { callLogFields, codeOfError, logLayer, metricsLayer } from './observe.ts'
export { type Page, type PageRequest, pageFrom, readPage } from './paging.ts'
export { type Handlers, type Implementation, implement, routesOf, unimplementedMethods } from './server.ts'
export { checkText, textFaults } from './text.ts'
export {
  type ClientTransport,
  type Connection,
  type Listener,
  type Route,
  type ServerTransport,
  TransportError,
} from './transport.ts'
