// An echo in the mesh that misbehaves when it is told to, over IPC.
import { setTimeout as delay } from 'node:timers/promises'
import { type Code, implement, RpcError } from '@docmesh/rpc'
import { runService } from '@docmesh/service'
import { FaultyEchoDefinition } from './echo.ts'

export interface Behaviour {
  readonly delayMs?: number
  /** Status code and reason that every call ends with, at once. */
  readonly failWith?: { readonly code: Code; readonly reason: string }
}

let behaviour: Behaviour = {}
process.on('message', (message: Behaviour) => {
  behaviour = message
  process.send?.({ kind: 'behaving' })
})
async function echo(bytes: Uint8Array): Promise<Uint8Array> {
  const { delayMs = 0, failWith } = behaviour
  if (delayMs > 0) await delay(delayMs)
  if (failWith) throw new RpcError(failWith.code, failWith.reason, 'told to fail')
  return bytes
}
await runService('echo', {}, async () => ({
  serve: [implement(FaultyEchoDefinition, { echo, echoOnce: echo })],
}))
