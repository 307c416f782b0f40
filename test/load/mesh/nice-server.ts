// nice-grpc as its documentation shows it.
import { createServer } from 'nice-grpc'
import { answerCpu, endWithParent } from './child.ts'
import { EchoDefinition } from './echo.ts'

const server = createServer()
server.add(EchoDefinition, { echo: async (bytes: Uint8Array) => bytes })
answerCpu()
endWithParent()
const port = await server.listen('127.0.0.1:0')
process.send?.({ kind: 'ready', address: `127.0.0.1:${port}` })
