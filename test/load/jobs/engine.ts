/** Where an engine keeps its jobs: a database of its own, or keys of its own. */
export interface Place {
  readonly databaseUrl: string
  readonly redis: { readonly host: string; readonly port: number }
  /** Begins every key in Redis. */
  readonly prefix: string
}

/** Takes the number of a job that has been given out. While the promise is pending, the job runs. */
export type Handler = (number: number) => Promise<void>

/** A job queue with its worker, in this process. */
export interface Engine {
  enqueue(number: number): Promise<void>
  /** Jobs from 0 to count − 1, by the way that the engine has for many. */
  enqueueAll(count: number): Promise<void>
}

/** Resolves when the worker takes jobs. It is never closed: the process ends. */
export type Open<Settings> = (place: Place, settings: Settings, handler: Handler) => Promise<Engine>
