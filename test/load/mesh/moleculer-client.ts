import { serveRounds } from './client.ts'
import { createBroker } from './moleculer-broker.ts'

const [, , port = '0', server = ''] = process.argv
const broker = createBroker('client', Number(port), server)
await broker.start()
await broker.waitForServices('echo')
const text = 'x'.repeat(256)
await serveRounds(
  async () => (await broker.call<string, { payload: string }>('echo.echo', { payload: text })).length,
)
