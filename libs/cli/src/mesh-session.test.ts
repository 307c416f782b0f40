import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { DiagnosticsServiceDefinition, HealthState } from '@docmesh/contracts/ops/v1/diagnostics'
import {
  InstanceHealth,
  InstanceState,
  type RegistryServiceDefinition,
} from '@docmesh/contracts/registry/v1/registry'
import { type Handlers, implement } from '@docmesh/rpc'
import { silentLogger } from '@docmesh/telemetry'
import { freePort } from '@docmesh/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { fileNameOf } from './download.ts'
import { connectMesh } from './mesh-session.ts'
import { docmesh, serve } from './testing.fixture.ts'

const MAIN = join(import.meta.dirname, 'main.ts')

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

const CONTENT = Buffer.alloc(100_000, 'docmesh ')

const documents: Handlers<typeof DocumentServiceDefinition> = {
  listDocuments: async ({ pageSize, nameContains, tags }, { userId }) => ({
    documents: [{ id: 'd-1', name: `${nameContains} ${tags.join('+')} ${pageSize} ${userId}` }],
    nextPageToken: 'page-2',
  }),
  async *downloadDocument({ version }) {
    const sha256 = createHash('sha256').update(CONTENT).digest('hex')
    yield { part: { $case: 'metadata', value: { name: 'contract.pdf', version: { number: 1, sha256 } } } }
    const content = version === 13 ? CONTENT.subarray(1) : CONTENT
    yield { part: { $case: 'chunk', value: content.subarray(0, 60_000) } }
    yield { part: { $case: 'chunk', value: content.subarray(60_000) } }
  },
}

/** A mesh of one server, which is registry and document service at once. */
async function mesh(): Promise<string> {
  let address = ''
  const instance = () => ({
    registration: { service: 'document', instanceId: 'document-1', address, version: '1.2.3' },
    state: InstanceState.SERVING,
    health: InstanceHealth.HEALTHY,
  })
  const registry: Handlers<typeof RegistryServiceDefinition> = {
    getStatus: async () => ({ revision: 7n, watchers: 2 }),
    listInstances: async () => ({ instances: [instance()] }),
    async *watch(_, { signal }) {
      const snapshot = { instances: [instance()], policies: [] }
      yield { epoch: 'e', revision: 7n, update: { $case: 'snapshot', value: snapshot } }
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    },
  }
  const diagnostics = implement(DiagnosticsServiceDefinition, {
    getDiagnostics: async () => ({
      health: HealthState.DEGRADED,
      process: { rssBytes: 150_000_000n, uptime: { seconds: 65n, nanos: 0 } },
      checks: [
        { name: 'postgres', state: HealthState.HEALTHY },
        { name: 'nats', state: HealthState.UNHEALTHY, detail: 'refused' },
      ],
    }),
  })
  const listener = await serve({ documents, registry }, [diagnostics])
  releases.push(() => listener.close(0))
  address = listener.address
  return address
}

const run = async (...args: string[]) =>
  docmesh([...args, '--registry', await mesh(), '--user', 'ana'], { connect: connectMesh })

describe('a session', () => {
  it('is refused with 4 and what to do when no registry answers', async () => {
    const target = `127.0.0.1:${await freePort()}`
    const { exitCode, err } = await docmesh(['status', '--registry', target], { connect: connectMesh })
    expect(exitCode).toBe(4)
    expect(err).toContain(`docmesh: no mesh answers at ${target} (start one with \`docmesh up\``)
  })

  it('needs one registry of several', async () => {
    const targets = [`127.0.0.1:${await freePort()}`, await mesh()]
    const session = await connectMesh({ targets, logger: silentLogger })
    releases.push(session.close)
    expect((await session.registry.getStatus({})).revision).toBe(7n)
  })

  it('knows when a service is there', async () => {
    const session = await connectMesh({ targets: [await mesh()], logger: silentLogger })
    releases.push(session.close)
    await session.awaitServices(['document'])
    const { documents } = await session.documents.listDocuments({})
    expect(documents).toHaveLength(1)
  })
})

describe('documents', () => {
  it('lists what was asked for and names the next page on stderr', async () => {
    const { exitCode, out, err } = await run(
      ...['documents', 'list', '--name', 'deed', '--tag', 'a', '--tag', 'b', '--page-size', '9'],
    )
    expect(exitCode).toBe(0)
    expect(out).toMatch(/^ID +NAME .*\nd-1 +deed a\+b 9 ana /)
    expect(err).toBe('more: --page-token page-2\n')
  })

  it('lists as proto3 JSON', async () => {
    const { out } = await run('documents', 'list', '--json')
    expect(JSON.parse(out)).toMatchObject({ documents: [{ id: 'd-1' }], nextPageToken: 'page-2' })
  })

  it('downloads the bytes to a file, or to stdout for -', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
    releases.push(() => rmSync(folder, { recursive: true }))
    const output = join(folder, 'out.pdf')
    await run('documents', 'download', 'd-1', '--output', output)
    expect(readFileSync(output).equals(CONTENT)).toBe(true)
    expect((await run('documents', 'download', 'd-1', '--output', '-')).out).toBe(CONTENT.toString())
  })

  it('leaves alone what is no ordinary file when the download fails', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
    releases.push(() => rmSync(folder, { recursive: true }))
    const output = join(folder, 'null')
    symlinkSync('/dev/null', output)
    const { exitCode } = await run(
      ...['documents', 'download', 'd-1', '--document-version', '13', '--output', output],
    )
    expect({ exitCode, isThere: existsSync(output) }).toEqual({ exitCode: 5, isThere: true })
  })

  it('keeps no file that the disk took only a part of', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
    releases.push(() => rmSync(folder, { recursive: true }))
    const output = join(folder, 'out.pdf')
    const download = ['documents', 'download', 'd-1', '--output', output, '--registry', await mesh()]
    // In blocks of 512 bytes: the last chunk fits in part.
    const child = spawn('sh', ['-c', 'ulimit -f 190; exec "$@"', 'sh', process.execPath, MAIN, ...download], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const [err, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    expect({ code, err, isThere: existsSync(output) }).toEqual({
      code: 5,
      err: expect.stringContaining('EFBIG'),
      isThere: false,
    })
  })

  it('keeps no file whose bytes differ from those stored', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
    releases.push(() => rmSync(folder, { recursive: true }))
    const output = join(folder, 'out.pdf')
    const { exitCode } = await run(
      ...['documents', 'download', 'd-1', '--document-version', '13', '--output', output],
    )
    expect(exitCode).toBe(5)
    expect(() => readFileSync(output)).toThrow('ENOENT')
  })

  it.each([
    ['contract.pdf', 'contract.pdf'],
    ['../../etc/passwd', 'passwd'],
    ['C:\\secret\\a.txt', 'a.txt'],
    ['..', 'document'],
    ['a/..', 'document'],
    ['', 'document'],
    ['a\u0000\nb', 'a b'],
  ])('writes a document named %j to %j', (name, file) => expect(fileNameOf(name)).toBe(file))
})

it('services shows instances with state, health, version and address', async () => {
  const { out } = await run('services')
  expect(out).toMatch(/document +document-1 +serving +healthy +1\.2\.3 +127\.0\.0\.1:\d+\n$/)
})

it('status shows the registry and what each instance says of itself', async () => {
  const { exitCode, out } = await run('status')
  expect(exitCode).toBe(0)
  expect(out).toContain('registry  revision 7, 1 instances, 2 watchers')
  expect(out).toMatch(/document +serving +degraded +1 min 05 s +150\.0 MB +- +\S+ +nats: refused\n$/)
})
