import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Fleet, type ServiceName, START_MS, startFleet } from './fleet.ts'

const buf = join(import.meta.dirname, '../../node_modules/.bin/buf')
let fleet: Fleet

beforeAll(async () => {
  fleet = await startFleet()
}, START_MS)
afterAll(() => fleet?.[Symbol.asyncDispose]())

/** A call as grpcurl would make it: the program knows nothing of the protos but what the server tells. */
function curl(address: string, method: string, ...args: string[]): unknown {
  const output = execFileSync(
    buf,
    ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', ...args, `http://${address}/${method}`],
    { encoding: 'utf8', stdio: 'pipe' },
  )
  return JSON.parse(output || '{}')
}

const CALLS: Record<ServiceName, string[]> = {
  registry: ['docmesh.registry.v1.RegistryService/ListServices'],
  document: ['docmesh.document.v1.DocumentService/ListDocuments'],
  analysis: [
    'docmesh.analysis.v1.AnalysisService/ListAnalyses',
    'docmesh.analysis.v1.RulePackService/ListRulePacks',
  ],
  notification: ['docmesh.notification.v1.NotificationService/ListNotifications'],
}

describe('a client that knows only the address', () => {
  it.each(Object.entries(CALLS))('calls %s by reflection', (service, methods) => {
    const { address } = fleet.one(service as ServiceName)
    for (const method of methods) expect(curl(address, method, '--data', '{}')).toBeTypeOf('object')
    expect(curl(address, 'docmesh.ops.v1.DiagnosticsService/GetDiagnostics', '--data', '{}')).toMatchObject({
      process: { service },
    })
    expect(curl(address, 'grpc.health.v1.Health/Check', '--data', '{}')).toEqual({ status: 'SERVING' })
  })

  it('gets the shipped rule packs with their rules', () => {
    const { address } = fleet.one('analysis')
    const { rulePacks } = curl(
      address,
      'docmesh.analysis.v1.RulePackService/ListRulePacks',
      '--data',
      '{}',
    ) as {
      rulePacks: { ref: { id: string }; rules: unknown[] }[]
    }
    expect(rulePacks.map(({ ref }) => ref.id)).toEqual(['core.contract', 'core.document'])
    for (const { rules } of rulePacks) expect(rules.length).toBeGreaterThanOrEqual(10)
  })
})
