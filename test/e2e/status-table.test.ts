import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DiagnosticsServiceDefinition } from '@docmesh/contracts/ops/v1/diagnostics'
import { createClient, grpcJsClient, sendOver } from '@docmesh/rpc'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Fleet, type ServiceName, START_MS, startFleet } from './fleet.ts'

let fleet: Fleet

beforeAll(async () => {
  fleet = await startFleet()
}, START_MS)
afterAll(() => fleet?.[Symbol.asyncDispose]())

const SERVICES: readonly ServiceName[] = ['registry', 'document', 'analysis', 'notification']

/** `SearchDocuments` of a row `| … | DocumentService | SearchDocuments, … |`, or `all` of a service. */
function methodsOfReadme(): Map<string, Set<string>> {
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8')
  const rows = [...readme.matchAll(/^\| `(\w+Service)` \| .* \| (.*) \|$/gm)]
  return new Map(
    rows.map(([, service = '', methods = '']) => [
      service,
      new Set([...methods.matchAll(/`(\w+)`/g)].map(([, name = '']) => name)),
    ]),
  )
}

it('the status table of the README names exactly the methods that answer UNIMPLEMENTED', async () => {
  const actual = new Map<string, Set<string>>()
  for (const service of SERVICES) {
    const connection = grpcJsClient.connect(fleet.one(service).address)
    const client = createClient(DiagnosticsServiceDefinition, sendOver(connection))
    const { unimplementedMethods } = await client.getDiagnostics({})
    connection.close()
    for (const path of unimplementedMethods) {
      const [, name = '', method = ''] = /\.(\w+)\/(\w+)$/.exec(path) ?? []
      actual.set(name, (actual.get(name) ?? new Set()).add(method))
    }
  }
  const documented = methodsOfReadme()
  for (const [service, methods] of documented)
    expect([service, [...methods].sort()]).toEqual([service, [...(actual.get(service) ?? [])].sort()])
  expect([...actual.keys()].filter((service) => !documented.has(service))).toEqual([])
})
