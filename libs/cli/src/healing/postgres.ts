import { type EmbeddedPostgres, startEmbeddedPostgres } from '@docmesh/postgres'

/** An embedded server that can be started again where it was, so that whoever knows its URL finds it. */
export interface KeptPostgres {
  readonly url: string
  /** Stops it if it still runs. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export async function keepPostgres(dataDir: string): Promise<KeptPostgres> {
  let running: EmbeddedPostgres = await startEmbeddedPostgres({ dataDir })
  const { url, port } = running
  let last: Promise<void> = Promise.resolve()
  /** One after the other: a stop that comes during a restart must stop the server that is starting. */
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    last = last.catch(() => {}).then(work)
    return last
  }
  return {
    url,
    restart: () =>
      inTurn(async () => {
        await running.stop()
        running = await startEmbeddedPostgres({ dataDir, port })
      }),
    stop: () => inTurn(() => running.stop()),
  }
}
