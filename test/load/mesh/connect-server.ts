// connect-node as its documentation shows it, over HTTP/2.
import { once } from 'node:events'
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { answerCpu, endWithParent } from './child.ts'
import { ConnectEcho } from './connect-echo.ts'

const server = createServer(
  connectNodeAdapter({
    routes: (router) => router.service(ConnectEcho, { echo: (request) => request }),
  }),
)
answerCpu()
endWithParent()
server.listen(0, '127.0.0.1')
await once(server, 'listening')
process.send?.({ kind: 'ready', address: `127.0.0.1:${(server.address() as AddressInfo).port}` })
