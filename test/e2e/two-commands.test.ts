import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, it } from 'vitest'
import { START_MS } from './fleet.ts'

const root = join(import.meta.dirname, '../..')
const home = mkdtempSync(join(tmpdir(), 'docmesh-home-'))
chmodSync(home, 0o755) // where the user that PostgreSQL runs as can enter, its data lies in the folder itself and goes with it
afterAll(() => rmSync(home, { recursive: true, force: true }))

const EMBEDDED = { ...process.env, DATABASE_URL: '', NATS_URL: '', REDIS_URL: '', DOCMESH_HOME: home }

it(
  'npm start -- --once --json brings the mesh up on embedded defaults and prints the report alone',
  async () => {
    const { stdout, stderr } = await promisify(execFile)('npm', ['start', '--', '--once', '--json'], {
      cwd: root,
      env: EMBEDDED,
    })
    const report = JSON.parse(stdout)
    expect(report.analysis).toMatchObject({
      state: 'ANALYSIS_STATE_COMPLETED',
      documentName: 'sample-contract.pdf',
      result: { verdict: 'VERDICT_FAIL' },
    })
    expect(report.findings.map(({ ruleId }: { ruleId: string }) => ruleId)).toContain('DOC-013')
    expect(stderr).toMatch(/ready/)
  },
  START_MS,
)

it(
  'npm start -- --once --fail-under ends with the exit code of the job',
  async () => {
    const run = promisify(execFile)('npm', ['start', '--', '--once', '--fail-under', '70'], {
      cwd: root,
      env: EMBEDDED,
    })
    await expect(run).rejects.toMatchObject({ code: 1, stdout: expect.stringContaining('FAIL') })
  },
  START_MS,
)
