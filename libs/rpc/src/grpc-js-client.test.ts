import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { eventually } from '@docmesh/testing'
import { afterEach, expect, it } from 'vitest'
import { callOf } from './call.fixture.ts'
import { grpcJsClient, grpcJsServer, implement, routesOf } from './index.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

it('does not keep the messages of an upload until its end', async () => {
  const implementation = implement(DocumentServiceDefinition, {
    async uploadDocument(requests) {
      for await (const _ of requests);
      return {}
    },
  })
  const listener = await grpcJsServer.listen('127.0.0.1:0', routesOf(implementation, []))
  const connection = grpcJsClient.connect(listener.address)
  releases.push(
    () => listener.close(0),
    () => connection.close(),
  )
  const call = callOf('uploadDocument')
  const sent: WeakRef<Uint8Array>[] = []
  const message = () => {
    const bytes = call.method.request.encode({ part: { $case: 'chunk', value: Buffer.alloc(65_536) } })
    sent.push(new WeakRef(bytes))
    return bytes
  }
  let kept: number | undefined
  async function* parts() {
    for (let i = 0; i < 100; i++) yield message()
    await eventually(() => {
      collectGarbage()
      kept = sent.filter((ref) => ref.deref() !== undefined).length
      if (kept > 20) throw new Error(`${kept} of 100 messages are still in memory`)
    })
  }
  expect(await Array.fromAsync(connection.stream(call, parts()))).toHaveLength(1)
  expect(kept).toBeLessThanOrEqual(20)
})
