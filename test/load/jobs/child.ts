// One worker of one engine, for one round: `node child.ts NAME PLACE`. Does what its parent asks over IPC.
import { setTimeout as delay } from 'node:timers/promises'
import { endWithParent } from '../mesh/child.ts'
import { CONTENDERS, type Contender, TAKEOVERS } from './contenders.ts'
import type { Handler } from './engine.ts'

export type Order =
  /** Works off many jobs that are there at once, for so long at most. */
  | { readonly kind: 'drain'; readonly jobs: number; readonly ms: number }
  /** Queues one job at a time while the worker has nothing else to do. */
  | { readonly kind: 'dispatch'; readonly ms: number }
  /** Begins every job and never ends one. */
  | { readonly kind: 'hold' }
  | { readonly kind: 'enqueue' }

export type News =
  | { readonly kind: 'ready' }
  | { readonly kind: 'drained'; readonly perSecond: number; readonly handled: number }
  | { readonly kind: 'dispatched'; readonly latenciesMs: readonly number[] }
  | { readonly kind: 'holding' }
  | { readonly kind: 'begun' }

const MAX_PAUSE_MS = 50

const [name = '', place = ''] = process.argv.slice(2)
const contender = CONTENDERS[name] ?? TAKEOVERS[name]
if (!contender || !('open' in contender)) throw new Error(`no contender "${name}"`)
endWithParent()

let handler: Handler = async () => {}
const engine = await (contender as Contender).open(JSON.parse(place), (number) => handler(number))
const tell = (news: News): unknown => process.send?.(news)

async function drain(jobs: number, ms: number): Promise<News> {
  const done = Promise.withResolvers<void>()
  let handled = 0
  let firstAt = 0
  let lastAt = 0
  let timer: NodeJS.Timeout | undefined
  handler = async () => {
    lastAt = performance.now()
    if (handled++ === 0) {
      firstAt = lastAt
      timer = setTimeout(() => done.resolve(), ms)
    }
    if (handled === jobs) done.resolve()
  }
  await engine.enqueueAll(jobs)
  await done.promise
  clearTimeout(timer)
  handler = async () => {}
  const endedAt = handled === jobs ? lastAt : performance.now()
  return { kind: 'drained', handled, perSecond: (handled / (endedAt - firstAt)) * 1_000 }
}

async function dispatch(ms: number): Promise<News> {
  const latenciesMs: number[] = []
  const until = performance.now() + ms
  while (performance.now() < until) {
    await delay(Math.random() * MAX_PAUSE_MS) // no engine shall gain from how its polls fall
    const called = Promise.withResolvers<number>()
    handler = async () => called.resolve(performance.now())
    const askedAt = performance.now()
    await engine.enqueue(0)
    latenciesMs.push((await called.promise) - askedAt)
  }
  return { kind: 'dispatched', latenciesMs }
}

function hold(): News {
  handler = () => {
    tell({ kind: 'begun' })
    return new Promise(() => {})
  }
  return { kind: 'holding' }
}

process.on('message', async (order: Order) => {
  if (order.kind === 'drain') tell(await drain(order.jobs, order.ms))
  if (order.kind === 'dispatch') tell(await dispatch(order.ms))
  if (order.kind === 'hold') tell(hold())
  if (order.kind === 'enqueue') await engine.enqueue(0)
})
tell({ kind: 'ready' })
