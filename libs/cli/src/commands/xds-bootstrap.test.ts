import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { EXIT } from '../exit-codes.ts'
import { docmesh, testIo } from '../testing.fixture.ts'

const folders: string[] = []
const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), 'docmesh-bootstrap-'))
  folders.push(made)
  return made
}
afterEach(() => {
  for (const each of folders.splice(0)) rmSync(each, { recursive: true, force: true })
})

const serverUri = async (registry: string): Promise<string> => {
  const { out } = await docmesh(['xds-bootstrap', '--registry', registry])
  return JSON.parse(out).xds_servers[0].server_uri
}

describe('docmesh xds-bootstrap', () => {
  it('prints what clients need: the registry, credentials, a node with a locality', async () => {
    const { exitCode, out } = await docmesh([
      'xds-bootstrap',
      '--registry',
      'registry:7400',
      '--node',
      'py-1',
      '--zone',
      'z1',
    ])
    expect(exitCode).toBe(EXIT.ok)
    expect(JSON.parse(out)).toEqual({
      xds_servers: [
        {
          server_uri: 'registry:7400',
          channel_creds: [{ type: 'insecure' }],
          server_features: ['xds_v3'],
        },
      ],
      node: { id: 'py-1', cluster: 'docmesh', locality: { zone: 'z1' } },
    })
  })

  it('takes the registry that every command takes', async () => {
    const io = testIo({ env: { REGISTRY_TARGET: '10.0.0.9:7400' } })
    const { out } = await docmesh(['xds-bootstrap'], { io })
    expect(JSON.parse(out).xds_servers[0].server_uri).toBe('10.0.0.9:7400')
  })

  it('gives several registries as addresses of one server', async () => {
    expect(await serverUri('10.0.0.1:7400,10.0.0.2:7400')).toBe('ipv4:10.0.0.1:7400,10.0.0.2:7400')
    expect(await serverUri('[::1]:7400,[::2]:7400')).toBe('ipv6:[::1]:7400,[::2]:7400')
  })

  it.each(['a:7400,b:7400', '10.0.0.1:7400,[::1]:7400'])(
    'refuses %s, which is not one server',
    async (registry) => {
      const { exitCode, err } = await docmesh(['xds-bootstrap', '--registry', registry])
      expect(exitCode).toBe(EXIT.usage)
      expect(err).toContain('IP addresses of one kind')
    },
  )

  it('writes to a file, and says so', async () => {
    const file = join(folder(), 'bootstrap.json')
    const { out, err } = await docmesh(['xds-bootstrap', '--registry', 'r:1', '--output', file])
    expect({ out, err }).toEqual({ out: '', err: `bootstrap written to ${file}\n` })
    expect(JSON.parse(readFileSync(file, 'utf8')).node.cluster).toBe('docmesh')
  })

  it('ends with 2 when it cannot write', async () => {
    const { exitCode, err } = await docmesh(['xds-bootstrap', '--output', join(folder(), 'no', 'file')])
    expect(exitCode).toBe(EXIT.usage)
    expect(err).toContain('cannot write')
  })

  it('shows in its help how a client uses it', async () => {
    const { out } = await docmesh(['xds-bootstrap', '--help'])
    expect(out).toMatch(/GRPC_XDS_BOOTSTRAP=\S+ python3/)
  })
})
