/** A service for run-service.integration.test.ts: tells its parent what happens inside, and fails when it is told to. */
import { once } from 'node:events'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { implement } from '@docmesh/rpc'
import { integer, oneOf } from './env.ts'
import { runService } from './run-service.ts'

const tell = (kind: string): void => void process.send?.({ kind })

const env = {
  fails: oneOf('FAILS', ['never', 'in build', 'in started', 'when released', 'when stopped'], {
    fallback: 'never',
    doc: 'Where the start fails.',
  }),
  pin: integer('PIN', {
    fallback: '1',
    min: 1,
    max: 9,
    doc: 'A number that somebody may take for a secret.',
  }),
} as const

await runService('fixture', env, async ({ env, own }) => {
  const released = Promise.withResolvers<never>()
  own({
    close() {
      tell('first released')
      released.reject(new Error('the database was closed'))
    },
  })
  released.promise.catch(() => {}) // most of the time nobody waits for it
  own({ close: () => tell('second released') })
  if (env.fails === 'when released') {
    tell('building')
    await released.promise
  }
  if (env.fails === 'in build') throw new Error('no database')
  const documents = implement(DocumentServiceDefinition, {
    /** Answers when the parent says so. */
    async getDocument({ documentId }) {
      if (documentId === 'bomb') {
        setImmediate(() => {
          throw new Error('bomb')
        })
      }
      const told = once(process, 'message')
      tell('call begun')
      await told
      tell('call answered')
      return { document: { id: documentId } }
    },
    /** Says one thing and waits for news that never come. */
    async *downloadDocument() {
      yield { part: { $case: 'chunk', value: Buffer.from('first') } }
      await new Promise<never>(() => {})
    },
  })
  const stopped = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  return {
    serve: [documents],
    async started() {
      if (env.fails === 'in started') throw new Error('no queue')
      if (env.fails !== 'when stopped') return
      tell('starting')
      await stopped.promise
      tell('started')
      setImmediate(begun.resolve)
    },
    async stopping() {
      tell('stopping')
      stopped.resolve()
      if (env.fails === 'when stopped') await begun.promise
    },
  }
})
