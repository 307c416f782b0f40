import { join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixture } from './analyze.ts'
import { type Fleet, START_MS, startFleet } from './fleet.ts'

const proto = join(import.meta.dirname, '../../proto')
let fleet: Fleet

beforeAll(async () => {
  fleet = await startFleet()
}, START_MS)
afterAll(() => fleet?.[Symbol.asyncDispose]())

type Stock = grpc.Client & Record<string, (...args: never[]) => grpc.ClientWritableStream<unknown>>

/** A client as the documentation of grpc-js makes one: the proto file and an address, nothing of docmesh. */
function stockClient(file: string, service: string, address: string): Stock {
  const definition = loadSync(file, { includeDirs: [proto], oneofs: true, defaults: true, longs: String })
  const Client = grpc.makeGenericClientConstructor(definition[service] as grpc.ServiceDefinition, service)
  return new Client(address, grpc.credentials.createInsecure()) as unknown as Stock
}

describe('a stock grpc-js client', () => {
  it('uploads a PDF with callbacks and a write stream', async () => {
    const client = stockClient(
      'docmesh/document/v1/document.proto',
      'docmesh.document.v1.DocumentService',
      fleet.one('document').address,
    )
    const bytes = fixture('sample-contract.pdf')
    const answer = await new Promise<{
      document: { currentVersion: { mediaType: string; sizeBytes: string } }
    }>((resolve, reject) => {
      const done = (error: Error | null, value: never): void => (error ? reject(error) : resolve(value))
      const call = client.uploadDocument?.(done as never)
      call?.write({ metadata: { name: 'contract.pdf' } })
      call?.end({ chunk: bytes })
    })
    client.close()
    expect(answer.document.currentVersion).toMatchObject({
      mediaType: 'application/pdf',
      sizeBytes: String(bytes.length),
    })
  })
})
