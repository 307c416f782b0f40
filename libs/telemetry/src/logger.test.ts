import { expect, test } from 'vitest'
import { createLogger, type LoggerOptions } from './logger.ts'
import { silentLogger } from './silent-logger.ts'

function record(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  const logger = createLogger({ service: 'document', version: '1.2.3', destination, ...options })
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') }
}

test('writes one JSON line with time, level, service, version, message, context and fields', () => {
  const { logger, lines, last } = record({ context: () => ({ request_id: 'r1', trace_id: 't1' }) })
  logger.info({ documents: 3 }, 'stored')
  expect(lines).toHaveLength(1)
  const { time, ...rest } = last()
  expect(new Date(time).toISOString()).toBe(time)
  expect(rest).toEqual({
    level: 'info',
    service: 'document',
    version: '1.2.3',
    request_id: 'r1',
    trace_id: 't1',
    documents: 3,
    msg: 'stored',
  })
})

test('asks for the context of the call on every line', () => {
  let request = 'r1'
  const { logger, last } = record({ context: () => ({ request_id: request }) })
  const child = logger.child({ component: 'outbox' })
  child.info('one')
  expect(last()).toMatchObject({ request_id: 'r1', component: 'outbox' })
  request = 'r2'
  child.info('two')
  expect(last()).toMatchObject({ request_id: 'r2', component: 'outbox' })
})

const secrets = /hunter2|ana@exemplo|123\.456\.789-09|11\.222\.333/
const personal = 'ana@exemplo.com.br 123.456.789-09 11.222.333/0001-81'

test.each([
  ['the message', (l: typeof silentLogger) => l.info(`user ${personal}`)],
  ['a field', (l: typeof silentLogger) => l.info({ note: personal, deep: [{ api_key: 'hunter2' }] }, 'x')],
  ['an error', (l: typeof silentLogger) => l.error(new Error(personal))],
  ['an error field', (l: typeof silentLogger) => l.error({ err: new Error(personal) }, 'failed')],
  [
    'the cause of an error',
    (l: typeof silentLogger) => {
      const cause = Object.assign(new Error(personal), { config: { authorization: 'hunter2' } })
      l.error({ failure: new Error('outer', { cause }) }, 'failed')
    },
  ],
  [
    'the fields of a child',
    (l: typeof silentLogger) => l.child({ owner: personal, token: 'hunter2' }).warn('x'),
  ],
  ['an error in a child', (l: typeof silentLogger) => l.child({ a: 1 }).error(new Error(personal))],
  ['a grandchild', (l: typeof silentLogger) => l.child({ a: 1 }).child({ cookie: 'hunter2' }).info(personal)],
])('no secret of %s reaches the destination, as JSON or readable', (_place, write) => {
  for (const pretty of [false, true]) {
    const { logger, lines } = record({ pretty })
    write(logger)
    expect(lines).toHaveLength(1)
    expect(lines[0]).not.toMatch(secrets)
    expect(lines[0]).toMatch(/\[(email|redacted)\]/)
  }
})

test('redacts the context of the call too', () => {
  const { logger, last } = record({ context: () => ({ user_id: 'ana@exemplo.com.br' }) })
  logger.info('x')
  expect(last().user_id).toBe('[email]')
})

test('logs an error given alone under err, with its message and its chain of causes', () => {
  const { logger, last } = record()
  logger.error(new Error('outer', { cause: new TypeError('inner') }))
  expect(last()).toMatchObject({
    level: 'error',
    msg: 'outer',
    err: { type: 'Error', message: 'outer', cause: { type: 'TypeError', message: 'inner' } },
  })
  expect(last().err.stack).toContain('logger.test.ts')
})

test('changes the level of a logger, its parent and its children at run time', () => {
  const { logger, lines } = record({ level: 'warn' })
  const child = logger.child({ component: 'mesh' })
  child.debug('hidden')
  logger.level = 'debug'
  child.debug('shown')
  child.level = 'silent'
  logger.fatal('hidden')
  expect(lines).toHaveLength(1)
  expect(logger.level).toBe('silent')
})

test('writes a readable line with the stacks of the error below it when pretty', () => {
  const { logger, lines } = record({ pretty: true })
  logger.warn({ n: 1, err: new Error('outer', { cause: new Error('inner') }) }, 'slow')
  const [head, first, ...rest] = (lines[0] ?? '').split('\n')
  expect(head).toMatch(/^\d\d:\d\d:\d\d\.\d{3} WARN {2}document slow n=1$/)
  expect(first).toBe('  Error: outer')
  expect(rest.join('\n')).toMatch(/ {2}caused by\n {2}Error: inner\n/)
})

test('the silent logger takes every call and stays silent', () => {
  expect(silentLogger.child({ a: 1 })).toBe(silentLogger)
  expect(silentLogger.error(new Error('x'))).toBeUndefined()
})
