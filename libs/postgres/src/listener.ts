import { setTimeout as delay } from 'node:timers/promises'
import { type Client, type ClientConfig, escapeIdentifier } from 'pg'
import { connectClient, endClient } from './connection.ts'

export type Listener = { close(): Promise<void> }

const MAX_PAUSE_MS = 2_000

/**
 * Listens on its own connection. When the connection is lost it comes back by itself and calls `onPayload('')`:
 * notifications sent in between are gone, so look at the tables.
 */
export const openListener = async (
  config: ClientConfig,
  channel: string,
  onPayload: (payload: string) => void,
  onError: (error: Error) => void,
): Promise<Listener> => {
  const closing = new AbortController()
  let current: Client | undefined

  const connect = async (): Promise<void> => {
    const client = await connectClient(config, onError)
    current = client
    client.on('notification', ({ payload = '' }) => onPayload(payload))
    try {
      await client.query(`listen ${escapeIdentifier(channel)}`)
    } catch (error) {
      await endClient(client)
      throw error
    }
    client.once('end', () => {
      if (!closing.signal.aborted) void reconnect()
    })
    if (closing.signal.aborted) await endClient(client)
  }

  const reconnect = async (): Promise<void> => {
    for (let pauseMs = 50; !closing.signal.aborted; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
      try {
        await delay(pauseMs, undefined, { signal: closing.signal, ref: false })
        await connect()
        onPayload('')
        return
      } catch (error) {
        if (!closing.signal.aborted) onError(error as Error)
      }
    }
  }

  await connect()
  return {
    close: async () => {
      closing.abort()
      if (current !== undefined) await endClient(current)
    },
  }
}
