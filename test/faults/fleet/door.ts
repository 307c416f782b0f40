import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** Stands before a server. While it is shut the server seems to hang: whoever comes is let in and hears nothing. */
export interface Door extends AsyncDisposable {
  /** The given URL with the address of the door in place of the server's. */
  readonly url: string
  shut(): void
  /** For those who wait inside as well. */
  open(): void
}

export async function startDoor(serverUrl: string): Promise<Door> {
  const { hostname, port } = new URL(serverUrl)
  const inside = new Set<Socket>()
  const waiting = new Set<Socket>()
  let isOpen = true

  const keep = (socket: Socket): void => {
    inside.add(socket)
    socket.on('error', () => {}).on('close', () => inside.delete(socket))
  }
  function lead(client: Socket): void {
    const server = connect(Number(port), hostname)
    keep(server)
    client.pipe(server).pipe(client)
    client.on('close', () => server.destroy())
    server.on('close', () => client.destroy())
  }
  const listener = createServer((client) => {
    keep(client)
    if (isOpen) return lead(client)
    waiting.add(client)
    client.on('close', () => waiting.delete(client))
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const url = new URL(serverUrl)
  url.port = String((listener.address() as AddressInfo).port)
  return {
    url: url.href,
    shut() {
      isOpen = false
    },
    open() {
      isOpen = true
      for (const client of waiting) lead(client)
      waiting.clear()
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => listener.close(resolve))
      for (const socket of inside) socket.destroy()
      await closed
    },
  }
}
