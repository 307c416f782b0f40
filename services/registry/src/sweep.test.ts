import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { named } from './registry.fixture.ts'
import { createRegistry } from './registry.ts'
import { startSweeping } from './sweep.ts'

/** A process that is stopped, or a machine that is paused and goes on. */
function freeze(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

it('a registry that was frozen for longer than a lease first reads the heartbeats that came meanwhile', async () => {
  const server = createServer()
  onTestFinished(() => void server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  onTestFinished(() => void client.destroy())
  const [socket] = (await once(server, 'connection')) as [Socket]
  if (client.connecting) await once(client, 'connect')

  const leaseTtlMs = 300
  const registry = createRegistry({
    epoch: 'e1',
    leaseTtlMs,
    suspectGraceMs: 100,
    monotonic: () => performance.now(),
    clock: () => new Date(),
  })
  const streams = [{}, {}]
  const seen: string[] = []
  registry.onChange((change) => seen.push(change.kind))
  for (const [at, stream] of streams.entries()) registry.register(named(`i${at}`), 'serving', stream)
  const beaten = once(socket, 'data').then(() => {
    for (const stream of streams) registry.heartbeat(stream)
  })
  const sweeping = startSweeping(registry)
  onTestFinished(() => sweeping.close())
  client.write('beat')
  freeze(3 * leaseTtlMs)
  await beaten
  expect([seen, registry.members().map(({ state }) => state)]).toEqual([
    ['joined', 'joined'],
    ['serving', 'serving'],
  ])
})
