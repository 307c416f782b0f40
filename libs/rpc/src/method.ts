/** What a client or a server has to know of one RPC; derived once from a generated service definition. */
export interface Method {
  readonly service: string
  readonly name: string
  /** `/docmesh.document.v1.DocumentService/GetDocument` */
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  /** From the proto's `idempotency_level`: only `safe` and `idempotent` methods are ever retried after being sent. */
  readonly idempotency: 'none' | 'safe' | 'idempotent'
  readonly request: Codec
  readonly response: Codec
}

export interface Codec {
  encode(message: unknown): Uint8Array
  decode(bytes: Uint8Array): unknown
}

interface MessageType<T = unknown> {
  encode(message: T): { finish(): Uint8Array }
  decode(bytes: Uint8Array): T
  fromPartial(object: never): T
}

export interface MethodDefinition {
  readonly name: string
  readonly requestType: MessageType
  readonly requestStream: boolean
  readonly responseType: MessageType
  readonly responseStream: boolean
  readonly options: { readonly idempotencyLevel?: 'IDEMPOTENT' | 'NO_SIDE_EFFECTS' }
}

/** The shape of ts-proto's `outputServices=generic-definitions`. */
export interface ServiceDefinition {
  readonly name: string
  readonly fullName: string
  readonly methods: Readonly<Record<string, MethodDefinition>>
}

const ENCODED = Symbol('encoded')

/** A message in the form that it has on the wire: made once, it can be sent to many. */
export interface Encoded<T = unknown> {
  readonly [ENCODED]: Uint8Array
  /** Never there: ties the bytes to their message. */
  readonly message?: T
}

export const encodeOnce = <T>(type: MessageType<T>, message: T): Encoded<T> =>
  encoded(type.encode(message).finish())

/** Bytes that are a message already. */
export const encoded = <T>(bytes: Uint8Array): Encoded<T> => ({ [ENCODED]: bytes })

type Input<T> = T extends { fromPartial(object: infer P): unknown } ? P : never
type Output<T> = T extends { fromPartial(object: never): infer M } ? M : never

/** The message that a caller or handler may write: every field optional, as in proto3. */
export type RequestInput<M extends MethodDefinition> = Input<M['requestType']>
export type RequestOutput<M extends MethodDefinition> = Output<M['requestType']>
export type ResponseInput<M extends MethodDefinition> = Input<M['responseType']>
export type ResponseOutput<M extends MethodDefinition> = Output<M['responseType']>

const IDEMPOTENCY = { IDEMPOTENT: 'idempotent', NO_SIDE_EFFECTS: 'safe' } as const

const codecOf = (type: MessageType): Codec => ({
  encode: (message) =>
    (message as Partial<Encoded>)[ENCODED] ?? type.encode(type.fromPartial(message as never)).finish(),
  decode: (bytes) => type.decode(bytes),
})

/** One {@link Method} per entry of the definition, under the same keys. */
export function methodsOf(definition: ServiceDefinition): Record<string, Method> {
  return Object.fromEntries(
    Object.entries(definition.methods).map(([key, method]) => [
      key,
      {
        service: definition.fullName,
        name: method.name,
        path: `/${definition.fullName}/${method.name}`,
        requestStream: method.requestStream,
        responseStream: method.responseStream,
        idempotency: method.options.idempotencyLevel ? IDEMPOTENCY[method.options.idempotencyLevel] : 'none',
        request: codecOf(method.requestType),
        response: codecOf(method.responseType),
      },
    ]),
  )
}
