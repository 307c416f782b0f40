import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type TcpProxy = {
  readonly port: number
  /** The given URL with this proxy's address in place of the server's. */
  readonly url: string
  /** Breaks every connection and refuses new ones. */
  cut(): void
  /** Lets new connections through again. */
  restore(): void
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Stands before a real server so that a test can take the server away from one client. */
export const tcpProxy = async (serverUrl: string): Promise<TcpProxy> => {
  const target = new URL(serverUrl)
  const sockets = new Set<Socket>()
  let open = true

  const join = (from: Socket, to: Socket): void => {
    sockets.add(from)
    from.on('error', () => {})
    from.on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
    from.pipe(to)
  }
  const server = createServer((client) => {
    if (!open) {
      client.destroy()
      return
    }
    const upstream = connect(Number(target.port), target.hostname)
    join(client, upstream)
    join(upstream, client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  const cut = (): void => {
    open = false
    for (const socket of sockets) socket.destroy()
  }
  const close = async (): Promise<void> => {
    cut()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
  const url = new URL(serverUrl)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return {
    port,
    url: url.href,
    cut,
    restore: () => {
      open = true
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
