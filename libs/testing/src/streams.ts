import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'

/** Removes what a test left in JetStream; streams that do not exist are no error. */
export async function deleteStreams(natsUrl: string, names: readonly string[]): Promise<void> {
  const connection = await connect({ servers: natsUrl })
  try {
    const { streams } = await jetstreamManager(connection)
    for (const name of names) await streams.delete(name).catch(() => false)
  } finally {
    await connection.close()
  }
}
