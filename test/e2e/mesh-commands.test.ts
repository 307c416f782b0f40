import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { openPostgres } from '@docmesh/postgres'
import { eventually } from '@docmesh/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { analyze, upload } from './analyze.ts'
import { type Fleet, START_MS, startFleet } from './fleet.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet({ instances: { registry: 2, document: 2 } })
}, START_MS)
afterAll(() => fleet?.[Symbol.asyncDispose]())

const main = join(import.meta.dirname, '../../libs/cli/src/main.ts')

const docmesh = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
  new Promise((resolve) => {
    const all = [main, '--registry', fleet.registryTarget, 'mesh', ...args]
    const child = execFile(process.execPath, all, (_, out, err) =>
      resolve({ code: child.exitCode ?? -1, out, err }),
    )
  })

describe('docmesh mesh, against a mesh with two registries', () => {
  it('lists every instance with the version that a policy may name', async () => {
    const { out } = await docmesh('list', 'document')
    for (const { instanceId } of fleet.instances('document'))
      expect(out).toMatch(new RegExp(`^document +${instanceId} +serving +healthy +0\\.1\\.0 `, 'm'))
  })

  it('says of the calls of an analysis which instance was picked, which lost, and how they ended', async () => {
    const { id } = await upload(fleet.mesh, 'contract.md', Buffer.from('# Contract\n\nOne clause.\n'))
    await analyze(fleet.mesh, id, 'request-1')
    const { out } = await docmesh('why', 'document', '--caller', 'analysis', '--json')
    const [{ decisions, endpoints }] = JSON.parse(out)
    const known = fleet.instances('document').map(({ instanceId }) => instanceId)
    expect(endpoints.map(({ instanceId }: { instanceId: string }) => instanceId).sort()).toEqual(known.sort())
    const compared = decisions.filter(({ reason }: { reason: string }) => reason === 'least_cost')
    expect(compared.length).toBeGreaterThan(0)
    for (const { picked, lost, code } of compared)
      expect({ both: [picked, lost].sort(), code }).toEqual({ both: known, code: 'OK' })
    expect((await docmesh('breakers')).out).toMatch(/analysis-\S+ +document \w+ +CLOSED +\d/)
  })

  it('sets a traffic policy that both registries know, and refuses one that names a version nobody runs', async () => {
    const set = await docmesh('traffic', 'set', 'document', '--weight', '0.1.0=100', '--hash', 'x-tenant')
    expect(set).toMatchObject({ code: 0, out: expect.stringContaining('100 % to 0.1.0') })
    for (const target of fleet.registryTarget.split(','))
      await eventually(async () => {
        const { out } = await docmesh('--registry', target, 'traffic', 'get', 'document')
        expect(out).toContain('same x-tenant to the same instance')
      })
    const refused = await docmesh('traffic', 'set', 'document', '--weight', '9.9.9=100')
    expect(refused).toMatchObject({ code: 2, err: expect.stringContaining('policy.weights[0].version') })
    const cleared = await docmesh('traffic', 'clear', 'document')
    expect(cleared.out).toMatch(/^document has the default policy since revision \d+\n$/)
  })

  it('drains an instance, which ends with 0 once the callers know', async () => {
    const [victim] = fleet.instances('document')
    if (!victim) throw new Error('no document instance')
    const ended = once(victim.process, 'exit')
    const { out } = await docmesh('drain', victim.instanceId, '--grace', '5s')
    expect(out).toMatch(/every watcher knows\n$/)
    expect(await ended).toEqual([0, null])
    await eventually(async () => expect((await docmesh('list')).out).not.toContain(victim.instanceId))
  })

  it('has told of each instance and each change of policy once, though two registries saw them', async () => {
    await using db = await openPostgres({ url: fleet.databaseUrl, schema: 'registry', poolMax: 1 })
    const told = (type: string) =>
      db.query<{ aggregate_id: string; number: bigint }>(
        'select aggregate_id, count(*) as number from events.log where type = $1 group by 1 order by 1',
        [`docmesh.registry.v1.${type}`],
      )
    const ids = (['document', 'analysis', 'notification'] as const)
      .flatMap((service) => fleet.instances(service))
      .map(({ instanceId }) => instanceId)
    await eventually(async () => {
      const registered = await told('ServiceRegistered')
      expect(registered.filter(({ aggregate_id }) => ids.includes(aggregate_id))).toEqual(
        ids.sort().map((aggregate_id) => ({ aggregate_id, number: 1n })),
      )
    })
    expect(await told('TrafficPolicyChanged')).toEqual([{ aggregate_id: 'document', number: 2n }])
  })
})
