import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { eventually } from '@docmesh/testing'
import { afterEach, expect, it } from 'vitest'
import { createClient, createGrpcJsClient, sendOver } from './index.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

/** A stopped process whose queue of connections is full: the kernel drops every SYN, as a host that has gone does. */
async function blackHole(): Promise<{ child: ChildProcess; port: number }> {
  const program = `require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () {
    console.log(this.address().port)
  })`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  releases.push(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout, 'data')
  const port = Number(String(line))
  child.kill('SIGSTOP')
  const fillers: Socket[] = []
  releases.push(() => {
    for (const filler of fillers) filler.destroy()
  })
  for (let connected = true; connected; ) {
    const filler = connect(port, '127.0.0.1').on('error', () => {})
    fillers.push(filler)
    connected = await Promise.race([
      once(filler, 'connect').then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, 300, false)),
    ])
  }
  return { child, port }
}

it('gives a peer up whose host does not answer at all, with every attempt anew', async () => {
  const { port } = await blackHole()
  let discarded = 0
  const transport = createGrpcJsClient({ connectTimeoutMs: 300, onDiscard: () => discarded++ })
  const connection = transport.connect(`127.0.0.1:${port}`)
  releases.push(() => connection.close())
  const client = createClient(DocumentServiceDefinition, sendOver(connection))
  for (let i = 1; i <= 2; i++) {
    await expect(client.getDocument({}, { timeoutMs: 60_000 })).rejects.toMatchObject({
      reason: 'NO_ENDPOINT',
      remote: { notSent: true, connectionFailed: true },
    })
    await eventually(() => expect(discarded).toBe(i))
  }
})
