import { createChannel, createClient } from 'nice-grpc'
import { serveRounds } from './client.ts'
import { EchoDefinition } from './echo.ts'

const client = createClient(EchoDefinition, createChannel(process.argv[2] ?? ''))
await serveRounds(async (payload) => (await client.echo(payload)).length)
