import * as grpc from '@grpc/grpc-js'
import { serveRounds } from './client.ts'
import { ECHO_PATH } from './echo.ts'

const timeoutMs = Number(process.argv[3])
const optionsOf = (): grpc.CallOptions => (timeoutMs ? { deadline: Date.now() + timeoutMs } : {})
const client = new grpc.Client(process.argv[2] ?? '', grpc.credentials.createInsecure())
const identity = (bytes: Buffer): Buffer => bytes
await serveRounds(
  (payload) =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(ECHO_PATH, identity, identity, payload, optionsOf(), (error, answer) => {
        if (error) reject(error)
        else resolve((answer as Buffer).length)
      })
    }),
)
