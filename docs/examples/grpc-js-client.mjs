// A plain grpc-js client. All that it knows of docmesh is the first import, the proto file and the target.
import '@docmesh/mesh/grpc-js/register'
import { join } from 'node:path'
import { credentials, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const includeDirs = [join(import.meta.dirname, '../../proto')]
const definition = loadSync('docmesh/document/v1/document.proto', { includeDirs, defaults: true })
const { DocumentService } = loadPackageDefinition(definition).docmesh.document.v1

const client = new DocumentService('mesh:///document', credentials.createInsecure())
client.listDocuments({ pageSize: 10 }, (error, answer) => {
  client.close() // the mesh is left with the last channel
  if (error) throw error
  process.stdout.write(`${answer.documents.length} documents\n`)
})
