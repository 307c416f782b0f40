// grpc-js as its documentation shows it.
import * as grpc from '@grpc/grpc-js'
import { answerCpu, endWithParent } from './child.ts'
import { ECHO_PATH } from './echo.ts'

const identity = (bytes: Buffer): Buffer => bytes
const server = new grpc.Server()
server.addService(
  {
    echo: {
      path: ECHO_PATH,
      requestStream: false,
      responseStream: false,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity,
    },
  },
  {
    echo: (call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) =>
      callback(null, call.request),
  },
)
answerCpu()
endWithParent()
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  process.send?.({ kind: 'ready', address: `127.0.0.1:${port}` })
})
