import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GetMeshViewResponse } from '@docmesh/contracts/ops/v1/diagnostics'
import {
  type DrainRequest,
  Instance,
  InstanceHealth,
  InstanceState,
  type PutTrafficPolicyRequest,
  TrafficPolicy,
  WatchResponse,
} from '@docmesh/contracts/registry/v1/registry'
import { invalidRequest, rpcError } from '@docmesh/rpc'
import { describe, expect, it } from 'vitest'
import { docmesh, type TestServices } from '../testing.fixture.ts'

const instance = (service: string, instanceId: string, more: Partial<Instance> = {}): Instance =>
  Instance.fromPartial({
    registration: { service, instanceId, address: '127.0.0.1:5000', version: '1.0.0', zone: 'a', weight: 50 },
    state: InstanceState.SERVING,
    health: InstanceHealth.HEALTHY,
    responseTime: { seconds: 0n, nanos: 1_500_000 },
    ...more,
  })

const policy = TrafficPolicy.fromPartial({
  service: 'document',
  weights: [
    { version: '1.0.0', weight: 90 },
    { version: '1.1.0', weight: 10 },
  ],
  rules: [{ headers: [{ name: 'x-beta', match: { $case: 'exact', value: 'yes' } }], version: '1.1.0' }],
  hash: { header: 'x-tenant' },
  fault: { abortPercent: 5, abortCode: 14 },
  etag: 'e-7',
  revision: 7n,
})

const registryWith = (more: TestServices['registry'] = {}): TestServices => ({
  registry: {
    listInstances: async ({ service }) => ({
      instances: [instance('document', 'd-1'), instance('analysis', 'a-1')].filter(
        ({ registration }) => service === '' || registration?.service === service,
      ),
    }),
    ...more,
  },
})

describe('docmesh mesh list', () => {
  it('shows the instances of one service with zone, weight and response time', async () => {
    const { exitCode, out } = await docmesh(['mesh', 'list', 'document'], { services: registryWith() })
    expect(exitCode).toBe(0)
    expect(out.split('\n')[1]).toMatch(
      /^document\s+d-1\s+serving\s+healthy\s+1\.0\.0\s+a\s+50\s+1\.5 ms\s+127\.0\.0\.1:5000$/,
    )
    expect(out).not.toContain('a-1')
  })

  it('writes proto3 JSON', async () => {
    const { out } = await docmesh(['mesh', 'list', '--json'], { services: registryWith() })
    expect(JSON.parse(out).instances.map((each: Instance) => each.registration?.instanceId)).toEqual([
      'd-1',
      'a-1',
    ])
  })
})

describe('docmesh mesh watch', () => {
  it('writes a line for each thing that changes, and none for what stays', async () => {
    const updates = [
      { revision: 3n, update: { $case: 'snapshot', value: { instances: [instance('document', 'd-1')] } } },
      {
        revision: 4n,
        update: {
          $case: 'delta',
          value: { changedInstances: [instance('document', 'd-1', { state: InstanceState.SUSPECT })] },
        },
      },
      {
        revision: 6n,
        update: {
          $case: 'delta',
          value: { removedInstanceIds: ['d-1', 'never-seen'], changedPolicies: [policy] },
        },
      },
    ] as const
    const services = registryWith({
      async *watch() {
        for (const update of updates) yield WatchResponse.fromPartial(update as never)
      },
    })
    const { out } = await docmesh(['mesh', 'watch'], { services })
    expect(out.split('\n').map((line) => line.replace(/^\S+ \S+ {2}/, ''))).toEqual([
      '3  joined document d-1 1.0.0 127.0.0.1:5000 (serving, healthy)',
      '4  changed document d-1 (serving, healthy -> suspect, healthy)',
      '6  left document d-1',
      '6  policy document',
      '',
    ])
  })
})

describe('docmesh mesh drain', () => {
  it('asks for the drain with wait and grace, and says whether every watcher knows', async () => {
    const asked: DrainRequest[] = []
    const services = registryWith({
      async drain(request) {
        asked.push(request)
        return { revision: 12n, acknowledged: true }
      },
    })
    const { out } = await docmesh(['mesh', 'drain', 'd-1', '--wait', '1s', '--grace', '500ms'], { services })
    expect(out).toBe('d-1 drains since revision 12; every watcher knows\n')
    expect(asked).toEqual([
      { instanceId: 'd-1', wait: { seconds: 1n, nanos: 0 }, grace: { seconds: 0n, nanos: 500_000_000 } },
    ])
  })

  it('ends with 2 for an instance that does not exist', async () => {
    const services = registryWith({
      drain: () => Promise.reject(rpcError('INSTANCE_NOT_FOUND', 'No instance x is registered.')),
    })
    const { exitCode, err } = await docmesh(['mesh', 'drain', 'x'], { services })
    expect({ exitCode, err }).toEqual({
      exitCode: 2,
      err: expect.stringContaining('No instance x is registered'),
    })
  })
})

describe('docmesh mesh traffic', () => {
  const storing = (stored: PutTrafficPolicyRequest[], current?: TrafficPolicy): TestServices =>
    registryWith({
      async getTrafficPolicy() {
        if (!current) throw rpcError('POLICY_NOT_FOUND', 'document has the default policy.')
        return { policy: current }
      },
      async putTrafficPolicy(request) {
        stored.push(request)
        return { policy: { ...request.policy, revision: 8n } }
      },
    })

  it('shows a policy in words', async () => {
    const { out } = await docmesh(['mesh', 'traffic', 'get', 'document'], { services: storing([], policy) })
    expect(out).toBe(
      [
        'document (revision 7)',
        '  90 % to 1.0.0',
        '  10 % to 1.1.0',
        '  x-beta=yes -> 1.1.0',
        '  same x-tenant to the same instance',
        '  5 % aborted with UNAVAILABLE',
        '',
      ].join('\n'),
    )
  })

  it('sets a policy from options, on the etag of the one that is there', async () => {
    const stored: PutTrafficPolicyRequest[] = []
    const args = ['--weight', '1.0.0=90', '--weight', '1.1.0=10', '--rule', 'x-beta=yes -> 1.1.0']
    const more = ['--hash', 'x-tenant', '--fault-abort', '5%:UNAVAILABLE']
    const { exitCode } = await docmesh(['mesh', 'traffic', 'set', 'document', ...args, ...more], {
      services: storing(stored, policy),
    })
    expect(exitCode).toBe(0)
    expect(stored[0]?.policy).toEqual({ ...policy, revision: 0n })
    expect(stored[0]?.requestId).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('sets what --json wrote, for a service that has no policy yet', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'docmesh-cli-'))
    const file = join(folder, 'policy.json')
    try {
      const { out } = await docmesh(['mesh', 'traffic', 'get', 'document', '--json'], {
        services: storing([], policy),
      })
      writeFileSync(file, out)
      const stored: PutTrafficPolicyRequest[] = []
      await docmesh(['mesh', 'traffic', 'set', 'document', '--file', file], { services: storing(stored) })
      expect(stored[0]?.policy).toEqual({ ...policy, etag: '' })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('leaves the policy alone when --file names no file, as an unset variable does', async () => {
    const stored: PutTrafficPolicyRequest[] = []
    const { exitCode } = await docmesh(['mesh', 'traffic', 'set', 'document', '--file', ''], {
      services: storing(stored, policy),
    })
    expect({ exitCode, stored }).toEqual({ exitCode: 2, stored: [] })
  })

  it('names each wrong field that the registry refuses', async () => {
    const services = registryWith({
      getTrafficPolicy: () => Promise.reject(rpcError('POLICY_NOT_FOUND', 'none')),
      putTrafficPolicy: () =>
        Promise.reject(
          invalidRequest([{ field: 'policy.weights', description: 'sum to 100, these sum to 90' }]),
        ),
    })
    const { exitCode, err } = await docmesh(['mesh', 'traffic', 'set', 'document', '--weight', '1.0.0=90'], {
      services,
    })
    expect({ exitCode, err }).toEqual({
      exitCode: 2,
      err: expect.stringContaining('policy.weights: sum to 100, these sum to 90'),
    })
  })
})

describe('docmesh mesh why and breakers', () => {
  const at = new Date('2026-11-21T04:05:06Z')
  const services = (): TestServices => ({
    ...registryWith(),
    diagnostics: {
      getMeshView: async ({ service, limit }) =>
        GetMeshViewResponse.fromPartial({
          decisions: [
            {
              at,
              service,
              method: 'docmesh.document.v1.DocumentService/GetDocument',
              attempt: limit,
              reason: 'least_cost',
              picked: 'd-1',
              pickedCostMs: 1.234,
              lost: 'd-2',
              lostCostMs: 56.7,
              code: 'OK',
              duration: { seconds: 0n, nanos: 1_600_000 },
            },
          ],
          incidents: [{ at, kind: 'endpoint_ejected', service, instanceId: 'd-3', reason: 'success_ratio' }],
          breakers: [{ name: 'document read', state: 'OPEN', calls: 20, failures: 12, retryAt: at }],
        }),
    },
  })

  it('shows for each call what was picked, what lost, at what cost, and the incidents', async () => {
    const { out } = await docmesh(['mesh', 'why', 'document', '--caller', 'analysis', '--limit', '2'], {
      services: services(),
    })
    const [, decision, , , incident] = out.split('\n')
    expect(decision?.split(/\s{2,}/)).toEqual([
      '2026-11-21 04:05:06',
      'a-1',
      'DocumentService/GetDocument',
      '2',
      'least_cost',
      'd-1',
      '1.23',
      'd-2',
      '57',
      'OK',
      '1.6 ms',
    ])
    expect(incident?.split(/\s{2,}/)).toEqual([
      '2026-11-21 04:05:06',
      'a-1',
      'endpoint_ejected',
      'document',
      'd-3',
      'success_ratio',
    ])
  })

  it('shows the breakers of every caller', async () => {
    const { out } = await docmesh(['mesh', 'breakers'], { services: services() })
    expect(out.split('\n').map((line) => line.split(/\s{2,}/))).toEqual([
      ['CALLER', 'GUARDS', 'STATE', 'CALLS', 'FAILURES', 'TRIED AGAIN (UTC)'],
      ['d-1', 'document read', 'OPEN', '20', '12', '2026-11-21 04:05:06'],
      ['a-1', 'document read', 'OPEN', '20', '12', '2026-11-21 04:05:06'],
      [''],
    ])
  })

  it('leaves out an instance that does not answer', async () => {
    const { exitCode, out } = await docmesh(['mesh', 'breakers'], {
      services: { ...registryWith(), diagnostics: {} },
    })
    expect({ exitCode, lines: out.trim().split('\n').length }).toEqual({ exitCode: 0, lines: 1 })
  })
})
