import { DrainResponse, ListInstancesResponse, WatchResponse } from '@docmesh/contracts/registry/v1/registry'
import { durationOf } from '@docmesh/rpc'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText } from '../paging.ts'
import { duration } from '../parse.ts'
import { meshInstances, meshNews } from '../render/mesh-instances.ts'
import { trafficCommand } from './mesh-traffic.ts'
import { breakersCommand, whyCommand } from './mesh-why.ts'
import { allInstances } from './services.ts'

interface ListOptions extends GlobalOptions {
  readonly json?: boolean
}

interface DrainOptions extends ListOptions {
  readonly wait?: number
  readonly grace?: number
}

/** Seeing and steering the mesh. */
export function meshCommand(cli: Cli): Command {
  const { stdout } = cli.io
  const mesh = new Command('mesh').description('see and steer the mesh').addHelpText(
    'after',
    `
Examples:
  docmesh mesh list document
  docmesh mesh watch
  docmesh mesh drain document-host-4711-5ac2d1f0 --grace 10s
  docmesh mesh traffic set document --weight 1.0.0=90 --weight 1.1.0=10
  docmesh mesh breakers
  docmesh mesh why document --limit 20`,
  )

  mesh
    .command('list')
    .description('instances with their state, health, version, zone, weight and response time')
    .argument('[service]', 'only instances of this service')
    .option('--json', 'proto3 JSON')
    .action(
      ending<ListOptions>(cli, async ({ json, ...options }, service) => {
        const instances = await withMesh(cli, options, ({ registry }) => allInstances(registry, service))
        stdout.write(
          json
            ? jsonText(ListInstancesResponse.toJSON({ instances, nextPageToken: '' }))
            : meshInstances(instances),
        )
        return EXIT.ok
      }),
    )

  mesh
    .command('watch')
    .description('every change of the mesh, a line each, until Ctrl-C')
    .option('--json', 'proto3 JSON, a line for each update')
    .action(
      ending<ListOptions>(cli, async (options) => {
        await withMesh(cli, options, (session) => watch(session, options, cli))
        return EXIT.ok
      }),
    )

  mesh
    .command('drain')
    .description('let an instance finish what it has and leave; callers stop picking it first')
    .argument('<instance>', 'id of the instance, as `docmesh mesh list` shows it')
    .option('--wait <time>', 'most time to wait until every caller knows (2s)', duration)
    .option('--grace <time>', 'time that it gives calls in flight (what it was started with)', duration)
    .option('--json', 'proto3 JSON')
    .action(
      ending<DrainOptions>(cli, async ({ wait, grace, json, ...options }, instanceId = '') => {
        const answer = await withMesh(cli, options, ({ registry }) =>
          registry.drain({
            instanceId,
            wait: wait === undefined ? undefined : durationOf(wait),
            grace: grace === undefined ? undefined : durationOf(grace),
          }),
        )
        const known = answer.acknowledged ? 'every watcher knows' : 'not every watcher has confirmed in time'
        stdout.write(
          json
            ? jsonText(DrainResponse.toJSON(answer))
            : `${instanceId} drains since revision ${answer.revision}; ${known}\n`,
        )
        return EXIT.ok
      }),
    )

  return mesh.addCommand(trafficCommand(cli)).addCommand(breakersCommand(cli)).addCommand(whyCommand(cli))
}

async function watch({ registry }: MeshSession, { json }: ListOptions, { io }: Cli): Promise<void> {
  const news = meshNews(() => new Date())
  for await (const update of registry.watch({})) {
    io.stdout.write(json ? `${JSON.stringify(WatchResponse.toJSON(update))}\n` : news(update))
  }
}
