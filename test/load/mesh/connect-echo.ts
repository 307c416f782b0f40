import { create, createFileRegistry, type Message } from '@bufbuild/protobuf'
import type { GenMessage, GenService } from '@bufbuild/protobuf/codegenv2'
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt'

/** Connect wants a schema: the same service, with one message that holds the bytes. */
const file = create(FileDescriptorProtoSchema, {
  name: 'echo.proto',
  package: 'docmesh.load',
  syntax: 'proto3',
  messageType: [
    {
      name: 'Payload',
      field: [
        {
          name: 'bytes',
          jsonName: 'bytes',
          number: 1,
          type: FieldDescriptorProto_Type.BYTES,
          label: FieldDescriptorProto_Label.OPTIONAL,
        },
      ],
    },
  ],
  service: [
    {
      name: 'EchoService',
      method: [{ name: 'Echo', inputType: '.docmesh.load.Payload', outputType: '.docmesh.load.Payload' }],
    },
  ],
})
const service = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] })).getService(
  'docmesh.load.EchoService',
)
if (!service) throw new Error('the schema has no EchoService')

type Payload = Message<'docmesh.load.Payload'> & { readonly bytes: Uint8Array }
type Echo = { methodKind: 'unary'; input: GenMessage<Payload>; output: GenMessage<Payload> }

export const ConnectEcho = service as GenService<{ echo: Echo }>
