import { EventEnvelope } from '@docmesh/contracts/events/v1/envelope'
import {
  AckPolicy,
  type Consumer,
  DeliverPolicy,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
} from '@nats-io/jetstream'
import { connect, type NatsConnection, nanos } from '@nats-io/transport-node'

export type JetStreamOptions = {
  natsUrl: string
  /** Stream that holds the events; dead letters go to `<stream>_DLQ`. */
  stream: string
  /** Put before every subject, e.g. `test1.`. */
  subjectPrefix: string
  /** A message whose instance went silent for this long goes to another. */
  ackWaitMs: number
}

export type Session = {
  js: JetStreamClient
  jsm: JetStreamManager
  /** What the server takes in one message, in bytes. */
  maxBytes(): number
}

export type JetStreamConnection = {
  /** Connects and makes the streams, once; rejects while NATS is away, and the next call tries again. */
  open(): Promise<Session>
  /** Something failed: look again, at the next `open`, whether the streams are there. */
  distrust(): void
  close(): Promise<void>
}

const DUPLICATE_WINDOW_MS = 600_000
const CONNECT_TIMEOUT_MS = 2_000
const REQUEST_TIMEOUT_MS = 2_000

/** What NATS takes when nobody configured it; the headers of a message count as well. */
const DEFAULT_MAX_BYTES = 1_048_576
const HEADER_BYTES = 1_024
const NOTHING = Buffer.alloc(0)

const isMissing = (error: unknown): boolean =>
  error instanceof JetStreamApiError && /not found/.test(error.message)

const presentOr = async <T>(look: () => Promise<T>, create: () => Promise<T>): Promise<T> => {
  try {
    return await look()
  } catch (error) {
    if (!isMissing(error)) throw error
    return await create()
  }
}

/** One connection for all, made when first needed; a stream that an operator has made otherwise is left as it is. */
export const jetStreamConnection = ({
  natsUrl,
  stream,
  subjectPrefix,
}: JetStreamOptions): JetStreamConnection => {
  let connecting: Promise<NatsConnection> | undefined

  const connection = (): Promise<NatsConnection> => {
    connecting ??= connect({
      servers: natsUrl,
      timeout: CONNECT_TIMEOUT_MS,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
    }).then(
      (nc) => {
        void nc.closed().then(() => {
          connecting = undefined
        })
        return nc
      },
      (error) => {
        connecting = undefined
        throw error
      },
    )
    return connecting
  }

  const ensureStream = (jsm: JetStreamManager, name: string, subject: string) =>
    presentOr(
      () => jsm.streams.info(name),
      () => jsm.streams.add({ name, subjects: [subject], duplicate_window: nanos(DUPLICATE_WINDOW_MS) }),
    )

  const openSession = async (): Promise<Session> => {
    const nc = await connection()
    const js = jetstream(nc, { timeout: REQUEST_TIMEOUT_MS })
    const jsm = await jetstreamManager(nc, { timeout: REQUEST_TIMEOUT_MS })
    await ensureStream(jsm, stream, `${subjectPrefix}docmesh.>`)
    await ensureStream(jsm, `${stream}_DLQ`, `${subjectPrefix}dlq.>`)
    return { js, jsm, maxBytes: () => nc.info?.max_payload ?? DEFAULT_MAX_BYTES }
  }

  let session: Promise<Session> | undefined
  const distrust = (): void => {
    session = undefined
  }
  return {
    open: () => {
      session ??= openSession().catch((error) => {
        distrust()
        throw new Error(`NATS does not answer: ${(error as Error).message}`, { cause: error })
      })
      return session
    },
    distrust,
    close: async () => {
      const nc = await connecting?.catch(() => undefined)
      await nc?.close()
    },
  }
}

/** An event as a message; one that is too big for the server goes without its payload, which the log has. */
export const encodeForWire = ({ maxBytes }: Session, envelope: EventEnvelope): Uint8Array => {
  const bytes = EventEnvelope.encode(envelope).finish()
  if (bytes.length <= maxBytes() - HEADER_BYTES) return bytes
  return EventEnvelope.encode({ ...envelope, payload: NOTHING }).finish()
}

/** Durable names may hold no dots, so `analysis` and `docmesh.document.v1.Created` make `analysis_docmesh_document_v1_Created`. */
export const durableName = (subscriber: string, type: string): string =>
  `${subscriber}_${type}`.replaceAll(/[^A-Za-z0-9_-]/g, '_')

/** One event type each: NATS 2.9 cannot filter by several. One message at a time keeps the order across retries. */
export const ensureConsumer = async (
  { js, jsm }: Session,
  { stream, subjectPrefix, ackWaitMs }: JetStreamOptions,
  { subscriber, type }: { subscriber: string; type: string },
): Promise<Consumer> => {
  const durable = durableName(subscriber, type)
  await presentOr(
    () => jsm.consumers.info(stream, durable),
    () =>
      jsm.consumers.add(stream, {
        durable_name: durable,
        filter_subject: `${subjectPrefix}${type}`,
        deliver_policy: DeliverPolicy.All,
        ack_policy: AckPolicy.Explicit,
        ack_wait: nanos(ackWaitMs),
        max_ack_pending: 1,
        max_deliver: -1,
      }),
  )
  return js.consumers.get(stream, durable)
}
