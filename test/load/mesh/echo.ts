import type { MethodDefinition, ServiceDefinition } from '@docmesh/rpc'

const bytes = {
  encode: (message: Uint8Array) => ({ finish: () => message }),
  decode: (message: Uint8Array) => message,
  fromPartial: (message: Uint8Array) => message,
}

const echo = {
  name: 'Echo',
  requestType: bytes,
  requestStream: false,
  responseType: bytes,
  responseStream: false,
  options: { idempotencyLevel: 'NO_SIDE_EFFECTS' },
} as const satisfies MethodDefinition

/** Bytes in, the same bytes out: what remains is the cost of the stack. */
export const EchoDefinition = {
  name: 'EchoService',
  fullName: 'docmesh.load.EchoService',
  methods: { echo },
} as const satisfies ServiceDefinition

export const ECHO_PATH = '/docmesh.load.EchoService/Echo'
