// The same echo as a docmesh service: registered, with every layer that a service has.
import { implement } from '@docmesh/rpc'
import { runService } from '@docmesh/service'
import { answerCpu } from './child.ts'
import { EchoDefinition } from './echo.ts'

answerCpu()
await runService('echo', {}, async () => ({
  serve: [implement(EchoDefinition, { echo: async (bytes) => bytes })],
}))
