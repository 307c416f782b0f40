import { answerCpu, endWithParent } from './child.ts'
import { createBroker } from './moleculer-broker.ts'

const [, , port = '0', peer = ''] = process.argv
const broker = createBroker('server', Number(port), peer)
broker.createService({
  name: 'echo',
  actions: { echo: (context: { params: { payload: string } }) => context.params.payload },
})
answerCpu()
endWithParent()
await broker.start()
process.send?.({ kind: 'ready', address: `127.0.0.1:${port}/server` })
