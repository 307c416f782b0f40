import { once } from 'node:events'
import { connect } from 'node:net'
import { openPostgres } from '@docmesh/postgres'
import type { Place } from './engine.ts'

const ANSWER_MS = 5_000

/** What each server has on disk when it says that a job is queued, as its configuration says. */
export async function durability({
  databaseUrl,
  redis,
}: Place): Promise<{ postgres: string; redis: string }> {
  await using db = await openPostgres({ url: databaseUrl, schema: 'public', poolMax: 1 })
  const [row] = await db.query<{ fsync: string; commit: string }>(
    `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit`,
  )
  return {
    postgres: `fsync ${row?.fsync}, synchronous_commit ${row?.commit}`,
    redis: await redisDurability(redis),
  }
}

async function redisDurability({ host, port }: Place['redis']): Promise<string> {
  const socket = connect(port, host)
  try {
    const settingOf = async (setting: string): Promise<string> => {
      socket.write(`CONFIG GET ${setting}\r\n`)
      const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(ANSWER_MS) })
      // RESP: *2, then name and value, each with its length before it.
      return String(answer).split('\r\n')[4] ?? ''
    }
    if ((await settingOf('appendonly')) === 'yes')
      return `append-only file, fsync ${await settingOf('appendfsync')}`
    const save = await settingOf('save')
    return save === '' ? 'nothing on disk' : `snapshots only, save ${save}`
  } finally {
    socket.destroy()
  }
}
