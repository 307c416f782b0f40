import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { startEmbeddedPostgres } from './embedded.ts'
import { freePort } from './free-port.ts'
import { openPostgres } from './postgres.ts'

// mkdtemp makes a private folder: as root, the user that PostgreSQL runs as cannot pass it.
const folder = mkdtempSync(join(tmpdir(), 'docmesh-embedded-'))
const dataDir = join(folder, 'postgres')

afterAll(() => {
  rmSync(realpathSync(dataDir), { recursive: true, force: true })
  rmSync(folder, { recursive: true, force: true })
})

const startInChild = async () => {
  const index = new URL('./index.ts', import.meta.url).href
  const script = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(index)})
    const { url } = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)} })
    process.stdout.write(url)
    setInterval(() => {}, 60_000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [url] = await once(child.stdout, 'data')
  return { child, url: String(url) }
}

it('keeps its data from one start to the next', async () => {
  const first = await startEmbeddedPostgres({ dataDir })
  const db = await openPostgres({ url: first.url, schema: 'public' })
  await db.query(`create table kept (word text); insert into kept values ('ação')`)
  expect(await db.query('show fsync')).toEqual([{ fsync: 'on' }])
  await db.close()
  await first.stop()
  await expect(openPostgres({ url: first.url, schema: 'public', connectTimeoutMs: 100 })).rejects.toThrow(
    'did not answer',
  )

  const port = await freePort()
  const second = await startEmbeddedPostgres({ dataDir, port })
  expect(second.port).toBe(port)
  const again = await openPostgres({ url: second.url, schema: 'public' })
  expect(await again.query('select upper(word) as word from kept')).toEqual([{ word: 'AÇÃO' }])
  await again.close()
  await second.stop()
})

it('adopts the server of a parent that was killed', async () => {
  const { child, url } = await startInChild()
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended

  const adopted = await startEmbeddedPostgres({ dataDir })
  expect(adopted.url).toBe(url)
  const db = await openPostgres({ url: adopted.url, schema: 'public' })
  expect(await db.query('select word from kept')).toEqual([{ word: 'ação' }])
  await db.close()
  await adopted.stop()
  await expect(openPostgres({ url, schema: 'public', connectTimeoutMs: 100 })).rejects.toThrow(
    'did not answer',
  )
})

it('starts although postmaster.pid names a process that is another', async () => {
  const pidFile = join(dataDir, 'data', 'postmaster.pid')
  writeFileSync(pidFile, `${process.pid}\n${dataDir}\n1790000000\n5432\n\n127.0.0.1\n1 1\nready\n`)
  const server = await startEmbeddedPostgres({ dataDir })
  expect(readFileSync(pidFile, 'utf8')).not.toContain(`${process.pid}\n`)
  await server.stop()
})

it('quotes the log when the server cannot start', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as { port: number }
  await expect(startEmbeddedPostgres({ dataDir, port })).rejects.toThrow(
    /server\.log ends with:[\s\S]*Address already in use/,
  )
  taken.close()
})
