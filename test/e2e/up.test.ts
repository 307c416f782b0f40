import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@docmesh/testing'
import { afterAll, expect, it } from 'vitest'
import { START_MS } from './fleet.ts'

const main = join(import.meta.dirname, '../../libs/cli/src/main.ts')
const home = mkdtempSync(join(tmpdir(), 'docmesh-home-'))
chmodSync(home, 0o755) // where the user that PostgreSQL runs as can enter
afterAll(() => rmSync(home, { recursive: true, force: true }))

const EMBEDDED = { ...process.env, DATABASE_URL: '', NATS_URL: '', REDIS_URL: '', DOCMESH_HOME: home }

it(
  'docmesh up stops everything in order although its terminal has gone',
  async () => {
    const args = ['up', '--registry', `127.0.0.1:${await freePort()}`]
    const up = spawn(
      process.execPath,
      [main, ...args, '--instances', 'document=1,analysis=0,notification=0'],
      {
        env: EMBEDDED,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    const ended = once(up, 'exit')
    for await (const chunk of up.stderr) if (String(chunk).includes('The mesh is up')) break
    up.stdout.destroy()
    up.kill('SIGHUP')
    expect(await ended).toEqual([0, null])
    expect(readdirSync(join(home, 'mesh'))).toEqual([])
    expect(existsSync(join(home, 'postgres', 'data', 'postmaster.pid'))).toBe(false)
  },
  START_MS,
)
