// For servers only, so not among the exports of the index: the descriptors of descriptors cost a client 10 MB.
// Server reflection (v1 and v1alpha) that serves buf's descriptor bytes unchanged. `@grpc/reflection` re-encodes them and
// loses map fields and well-known types on the way (grpc-node #3018).
import { readFileSync } from 'node:fs'
import { fromBinary } from '@bufbuild/protobuf'
import { BinaryReader } from '@bufbuild/protobuf/wire'
import {
  type DescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt'
import {
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '@docmesh/contracts/grpc/reflection/v1/reflection'
import { ServerReflectionDefinition as ServerReflectionV1AlphaDefinition } from '@docmesh/contracts/grpc/reflection/v1alpha/reflection'
import { Code } from './codes.ts'
import { type Implementation, implement } from './server.ts'

interface File {
  readonly descriptor: FileDescriptorProto
  readonly bytes: Uint8Array
}

type Answer = ServerReflectionResponse['messageResponse']

/** Reflection for `services`, full names, out of the descriptor image of libs/contracts. */
export function reflectionServices(services: readonly string[]): Implementation[] {
  const index = readIndex(readFileSync(new URL(import.meta.resolve('@docmesh/contracts/image'))))
  const listed = [
    ...services,
    ServerReflectionDefinition.fullName,
    ServerReflectionV1AlphaDefinition.fullName,
  ]
  async function* serverReflectionInfo(requests: AsyncIterable<ServerReflectionRequest>) {
    for await (const request of requests) {
      yield {
        validHost: request.host,
        originalRequest: request,
        messageResponse: answer(index, listed, request),
      }
    }
  }
  return [
    implement(ServerReflectionDefinition, { serverReflectionInfo }),
    implement(ServerReflectionV1AlphaDefinition, { serverReflectionInfo }),
  ]
}

interface DescriptorIndex {
  readonly byName: ReadonlyMap<string, File>
  readonly bySymbol: ReadonlyMap<string, File>
}

/** FileDescriptorSet is `repeated FileDescriptorProto file = 1`: each entry is kept as its own bytes. */
function readIndex(image: Uint8Array): DescriptorIndex {
  const byName = new Map<string, File>()
  const bySymbol = new Map<string, File>()
  const reader = new BinaryReader(image)
  while (reader.pos < reader.len) {
    reader.tag()
    const bytes = reader.bytes()
    const file = { bytes, descriptor: fromBinary(FileDescriptorProtoSchema, bytes) }
    byName.set(file.descriptor.name, file)
    for (const symbol of symbolsOf(file.descriptor)) bySymbol.set(symbol, file)
  }
  return { byName, bySymbol }
}

function* symbolsOf(file: FileDescriptorProto): Iterable<string> {
  const prefix = file.package ? `${file.package}.` : ''
  for (const message of file.messageType) yield* messageSymbols(message, prefix)
  for (const { name } of file.enumType) yield prefix + name
  for (const service of file.service) {
    yield prefix + service.name
    for (const { name } of service.method) yield `${prefix}${service.name}.${name}`
  }
}

function* messageSymbols(message: DescriptorProto, prefix: string): Iterable<string> {
  const name = prefix + message.name
  yield name
  for (const nested of message.nestedType) yield* messageSymbols(nested, `${name}.`)
  for (const nested of message.enumType) yield `${name}.${nested.name}`
}

function answer(
  index: DescriptorIndex,
  services: readonly string[],
  { messageRequest }: ServerReflectionRequest,
): Answer {
  switch (messageRequest?.$case) {
    case 'listServices':
      return { $case: 'listServicesResponse', value: { service: services.map((name) => ({ name })) } }
    case 'fileByFilename':
      return fileAnswer(index, index.byName.get(messageRequest.value), messageRequest.value)
    case 'fileContainingSymbol':
      return fileAnswer(index, index.bySymbol.get(messageRequest.value), messageRequest.value)
    default: // proto3 has no extensions to tell of
      return failure(Code.NOT_FOUND, 'Not found: the contract has no extensions.')
  }
}

function fileAnswer({ byName }: DescriptorIndex, file: File | undefined, asked: string): Answer {
  if (!file) return failure(Code.NOT_FOUND, `Not found: ${asked}`)
  const closure = new Set<File>()
  const add = (entry: File | undefined): void => {
    if (!entry || closure.has(entry)) return
    closure.add(entry)
    for (const dependency of entry.descriptor.dependency) add(byName.get(dependency))
  }
  add(file)
  return {
    $case: 'fileDescriptorResponse',
    value: { fileDescriptorProto: [...closure].map(({ bytes }) => Buffer.from(bytes)) },
  }
}

const failure = (errorCode: number, errorMessage: string): Answer => ({
  $case: 'errorResponse',
  value: { errorCode, errorMessage },
})
