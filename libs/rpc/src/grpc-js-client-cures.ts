// Cures for two faults of grpc-js that hold a client up or cut its calls. They lean on its inside: its version is pinned.
import { subscribe } from 'node:diagnostics_channel'
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import * as grpc from '@grpc/grpc-js'

/**
 * Credentials that time the connection attempts made with them. grpc-js does not: a peer that never answers holds the
 * channel in CONNECTING for ever (grpc-node #2785). `onTimeout` gets the socket if TCP has got as far as that; it is
 * also called some time after an attempt that went well.
 */
export function timedCredentials(
  timeoutMs: number,
  onTimeout: (socket: Socket | undefined) => void,
): grpc.ChannelCredentials {
  const credentials = grpc.credentials.createInsecure()
  const createConnector = credentials._createSecureConnector.bind(credentials)
  credentials._createSecureConnector = (...args) => {
    const connector = createConnector(...args)
    let socket: Socket | undefined
    let timer: NodeJS.Timeout | undefined
    return {
      /** The first thing that grpc-js does in every attempt. */
      waitForReady() {
        clearTimeout(timer)
        socket = undefined
        timer = setTimeout(() => onTimeout(socket), timeoutMs).unref()
        return connector.waitForReady()
      },
      connect(connected) {
        socket = connected
        return connector.connect(connected)
      },
      getCallCredentials: () => connector.getCallCredentials(),
      destroy() {
        clearTimeout(timer)
        connector.destroy()
      },
    }
  }
  return credentials
}

let isDisarming = false

/**
 * Keeps grpc-js from cutting the calls of a connection that drains: it goes on with its keepalive after a GOAWAY, Node
 * refuses to send a PING then, and grpc-js takes that for a dead peer (grpc-node #3068). Holds for the whole process.
 */
export function disarmKeepaliveAfterGoaway(): void {
  if (isDisarming) return
  isDisarming = true
  const known = new WeakSet<ClientHttp2Session>()
  subscribe('http2.client.stream.created', (message) => {
    const { stream } = message as { stream: ClientHttp2Stream }
    const session = stream.session as ClientHttp2Session | undefined
    if (!session || known.has(session)) return
    known.add(session)
    session.once('goaway', () => {
      session.ping = answerPing as typeof session.ping
    })
  })
}

const NO_PAYLOAD = Buffer.alloc(8)

function answerPing(answered: (error: null, ms: number, payload: Buffer) => void): boolean {
  process.nextTick(answered, null, 0, NO_PAYLOAD)
  return true
}
