import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { GetMeshViewResponse } from '@docmesh/contracts/ops/v1/diagnostics'
import { installMeshTarget, meshView } from '@docmesh/mesh/grpc-js'
import { eventually } from '@docmesh/testing'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Fleet, START_MS, startFleet } from './fleet.ts'

const root = join(import.meta.dirname, '../..')
const releases: (() => unknown)[] = []
let fleet: Fleet

beforeAll(async () => {
  fleet = await startFleet({ instances: { document: 2, analysis: 0, notification: 0 } })
  releases.push(() => fleet[Symbol.asyncDispose]())
  releases.push(installMeshTarget({ registryTargets: fleet.registryTarget.split(',') }))
}, START_MS)
afterAll(async () => {
  for (const release of releases.splice(0).reverse()) await release()
})

type Answer = (error: grpc.ServiceError | null, value?: unknown) => void
type Stock = grpc.Client & { listDocuments(request: object, answer: Answer): void }

/** A client as the documentation of grpc-js makes one. */
function stockClient(): Stock {
  const definition = loadSync('docmesh/document/v1/document.proto', { includeDirs: [join(root, 'proto')] })
  const name = 'docmesh.document.v1.DocumentService'
  const DocumentService = grpc.makeGenericClientConstructor(definition[name] as grpc.ServiceDefinition, name)
  return new DocumentService('mesh:///document', grpc.credentials.createInsecure()) as unknown as Stock
}

const read = (client: Stock): Promise<string> =>
  new Promise((resolve) => {
    client.listDocuments({ pageSize: 10 }, (error) =>
      resolve(error ? `${grpc.status[error.code]}: ${error.details}` : 'OK'),
    )
  })

describe('a stock grpc-js client that dials mesh:///document', () => {
  const runExample = (hedge: string) =>
    promisify(execFile)(process.execPath, [join(root, 'docs/examples/grpc-js-client.mjs')], {
      env: { ...process.env, REGISTRY_TARGET: fleet.registryTarget, MESH_HEDGE: hedge },
    })

  it('is what the example in the documentation shows', async () => {
    const { stdout } = await runExample('docmesh.document.v1.DocumentService/ListDocuments')
    expect(stdout).toBe('0 documents\n')
  })

  it('does not start when the environment wants a method hedged that cannot be', async () => {
    await expect(runExample('docmesh.document.v1.DocumentService/UploadDocument')).rejects.toThrow(
      'UploadDocument cannot be hedged',
    )
  })

  it('loses no read when an instance is killed', async () => {
    const client = stockClient()
    releases.push(() => client.close())
    const answers: string[] = []
    const enough = (calls: number) =>
      eventually(async () => expect(answers.length).toBeGreaterThanOrEqual(calls))
    let isEnding = false
    async function keepReading(): Promise<void> {
      while (!isEnding) answers.push(await read(client))
    }
    const readers = Array.from({ length: 16 }, keepReading)
    await enough(200)
    fleet.instances('document')[0]?.process.kill('SIGKILL')
    await enough(answers.length + 1_000)
    isEnding = true
    await Promise.all(readers)
    expect(answers.filter((answer) => answer !== 'OK')).toEqual([])
  })

  it('tells what it sees and did in the words of DiagnosticsService.GetMeshView', async () => {
    const client = stockClient()
    releases.push(() => client.close())
    expect(await read(client)).toBe('OK')
    const told = GetMeshViewResponse.encode(GetMeshViewResponse.fromPartial(meshView({ limit: 1 }) ?? {}))
    const { epoch, endpoints, decisions } = GetMeshViewResponse.decode(told.finish())
    expect(epoch).not.toBe('')
    expect(decisions).toMatchObject([
      { method: 'docmesh.document.v1.DocumentService/ListDocuments', code: 'OK' },
    ])
    expect(endpoints.map(({ instanceId }) => instanceId)).toContain(decisions[0]?.picked)
  })
})
