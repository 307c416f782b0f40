import { type Analysis, Priority, StepState } from '@docmesh/contracts/analysis/v1/analysis'
import {
  type Instance,
  type InstanceOptions,
  type Library,
  startInstance,
  startLibrary,
} from './world.fixture.ts'

export const TEXT = '# CONTRATO\n\nO prazo de vigência é de 12 (quatorze) meses.\n'

/** A library, and what tests ask of instances of the service over them. */
export interface Saga extends AsyncDisposable {
  readonly library: Library
  /** Closed with the rest. */
  instance(options?: Partial<InstanceOptions>): Promise<Instance>
  /** A document whose text comes when it is told to. */
  held(tenantId?: string): { readonly documentId: string; release(): void }
}

export async function openSaga(database: { readonly url: string } & AsyncDisposable): Promise<Saga> {
  const stack = new AsyncDisposableStack()
  stack.use(database)
  const library = await startLibrary()
  stack.defer(() => library.close())
  return {
    library,
    instance: async (options = {}) =>
      stack.use(await startInstance({ databaseUrl: database.url, documents: library.address, ...options })),
    held(tenantId = 'acme') {
      const { promise, resolve } = Promise.withResolvers<void>()
      return { documentId: library.put(TEXT, { tenantId, ready: () => promise }), release: resolve }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

type Serving = Pick<Instance, 'client'>

export async function start(
  { client }: Serving,
  documentId: string,
  priority: Priority = Priority.NORMAL,
): Promise<string> {
  const { analysis } = await client.startAnalysis({ documentId, options: { priority } })
  if (!analysis) throw new Error('the answer has no analysis')
  return analysis.id
}

export async function get({ client }: Serving, analysisId: string): Promise<Analysis> {
  const { analysis } = await client.getAnalysis({ analysisId })
  if (!analysis) throw new Error('the answer has no analysis')
  return analysis
}

export async function ended({ client }: Serving, analysisId: string): Promise<Analysis> {
  const seen = await Array.fromAsync(client.watchAnalysis({ analysisId }))
  const last = seen.at(-1)?.analysis
  if (!last) throw new Error('the watch showed nothing')
  return last
}

/** Waits until it is at the step that waits for a text. */
export async function isRunning({ client }: Serving, analysisId: string): Promise<void> {
  for await (const { analysis } of client.watchAnalysis({ analysisId }))
    if (analysis?.steps.some(({ name, state }) => name === 'extract' && state === StepState.RUNNING)) return
  throw new Error('it ended before it was seen at its text')
}

/** Types of the events of an analysis, without their package. */
export const types = async (
  { events }: Pick<Instance, 'events'>,
  id: string,
): Promise<(string | undefined)[]> =>
  (await events.history('analysis', id)).map(({ type }) => type.split('.').at(-1))
