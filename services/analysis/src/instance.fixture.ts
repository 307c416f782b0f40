import { createLogger } from '@docmesh/telemetry/logger'
import { startInstance } from './world.fixture.ts'

/**
 * An instance that a test may kill or freeze: `node instance.fixture.ts DATABASE_URL DOCUMENTS`. It logs to standard error,
 * "up" when it takes work, and ends on SIGTERM.
 */
const [, , databaseUrl = '', documents = ''] = process.argv
const logger = createLogger({ service: 'analysis', version: '0', level: 'info' })
const instance = await startInstance({ databaseUrl, documents, logger, deadAfterMs: 1_000 })
process.once('SIGTERM', () => void instance[Symbol.asyncDispose]())
logger.info('up')
