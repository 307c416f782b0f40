import { fileURLToPath } from 'node:url'
import { migrate } from '@docmesh/postgres'
import { createBell } from './bell.ts'
import { listDeadLetters, requestRedrive } from './dead-letters.ts'
import type { Delivery } from './delivery.ts'
import type { Interest } from './inbox.ts'
import { jetStreamDelivery } from './jetstream-delivery.ts'
import type { Loop } from './loop.ts'
import { type JetStreamOptions, jetStreamConnection } from './nats.ts'
import { observeEvents } from './observe.ts'
import type { Events, EventsOptions } from './options.ts'
import { postgresDelivery } from './postgres-delivery.ts'
import { startPruning } from './pruning.ts'
import { startRelay } from './relay.ts'
import { startRepairs } from './repairs.ts'
import { requestReplay } from './replays.ts'
import { CHANNEL, erase, history } from './store.ts'
import { listSubscribers } from './subscribers.ts'
import { tailLog } from './tail.ts'

const DEFAULT_STREAM = 'DOCMESH'
const MONTH_MS = 30 * 86_400_000
const MIGRATIONS = fileURLToPath(new URL('../migrations', import.meta.url))
const defaultBackoff = (attempt: number): number => Math.min(200 * 4 ** (attempt - 1), 30_000)

/** Events of one service: append and subscribe. NATS may be away at any time, also now. */
export const connectEvents = async ({
  db,
  natsUrl,
  subscriberPrefix = '',
  stream = DEFAULT_STREAM,
  subjectPrefix = stream === DEFAULT_STREAM ? '' : `${stream}.`,
  pollMs = 1_000,
  ackWaitMs = 5_000,
  retentionMs = MONTH_MS,
  metrics,
  onError = () => {},
}: EventsOptions): Promise<Events> => {
  if (!(retentionMs > 0)) throw new RangeError(`retentionMs ${retentionMs}: more than 0`)
  await migrate(db, { schema: 'events', migrations: MIGRATIONS })

  const observed = observeEvents(metrics)
  const closing = new AbortController()
  // What to wake, and for which type; undefined for all, '' for none but when news may have been missed.
  const loops = new Map<Pick<Loop, 'wake'>, string | undefined>()
  const own = new Set<Loop>()
  const run = (loop: Loop, wakenBy: string | undefined): Loop => {
    loops.set(loop, wakenBy)
    own.add(loop)
    return loop
  }
  const listener = await db.listen(CHANNEL, (type) => {
    for (const [loop, wanted] of loops)
      if (type === '' || wanted === undefined || type === wanted) loop.wake()
  })
  own.add(startPruning({ db, retentionMs, onError }))

  const openDelivery = (): Delivery => {
    if (natsUrl === undefined) return postgresDelivery({ db, pollMs })
    const options: JetStreamOptions = { natsUrl, stream, subjectPrefix, ackWaitMs }
    const nats = jetStreamConnection(options)
    run(startRelay({ db, nats, options, pollMs, onError }), undefined)
    return jetStreamDelivery({ db, nats, options })
  }
  const delivery = openDelivery()

  const subscribe: Events['subscribe'] = ({
    subscriber: name,
    events,
    handler,
    maxAttempts = 5,
    backoff = defaultBackoff,
  }) => {
    if (!Number.isInteger(maxAttempts) || maxAttempts < 1)
      throw new RangeError(`maxAttempts ${maxAttempts}: at least 1`)
    const subscriber = `${subscriberPrefix}${name}`
    const interestIn = (type: Interest['type']): Interest => ({
      subscriber,
      type,
      handler: handler as Interest['handler'],
      maxAttempts,
      backoff,
      onError,
      observe: observed.attempt,
    })
    const interests = new Map(events.map((type) => [type.$type as string, interestIn(type)]))
    const started = [
      run(startRepairs({ db, subscriber, interests, pollMs, onError }), ''),
      ...[...interests].map(([type, interest]) => run(delivery.consume(interest), type)),
    ]
    return {
      close: async () => {
        await Promise.all(started.map((loop) => loop.close()))
        for (const loop of started) {
          loops.delete(loop)
          own.delete(loop)
        }
      },
    }
  }

  async function* tail(options: Parameters<Events['tail']>[0]): ReturnType<Events['tail']> {
    const bell = createBell()
    const ear = { wake: bell.ring }
    const signal = AbortSignal.any([options.signal, closing.signal])
    loops.set(ear, undefined)
    try {
      yield* tailLog({ db, bell, pollMs }, { ...options, signal })
    } catch (error) {
      if (!signal.aborted) throw error // the database may close under a tail that ends
    } finally {
      loops.delete(ear)
    }
  }

  const close = async (): Promise<void> => {
    closing.abort()
    await listener.close()
    await Promise.all([...own].map((loop) => loop.close()))
    loops.clear()
    await delivery.close()
  }

  return {
    publish: observed.publish,
    erase,
    subscribe,
    history: (aggregateType, aggregateId) => history(db, aggregateType, aggregateId),
    tail,
    subscribers: () => listSubscribers(db, retentionMs),
    replay: (options) => requestReplay(db, options),
    deadLetters: (options) => listDeadLetters(db, options),
    redrive: (options) => requestRedrive(db, options),
    close,
    [Symbol.asyncDispose]: close,
  }
}
