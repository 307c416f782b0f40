import { createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import { serveRounds } from './client.ts'
import { ConnectEcho } from './connect-echo.ts'

const transport = createGrpcTransport({ baseUrl: `http://${process.argv[2]}` })
const client = createClient(ConnectEcho, transport)
await serveRounds(async (bytes) => (await client.echo({ bytes })).bytes.length)
