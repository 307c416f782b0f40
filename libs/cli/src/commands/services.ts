import { type Instance, ListInstancesResponse } from '@docmesh/contracts/registry/v1/registry'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import type { Sink } from '../io.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText } from '../paging.ts'
import { HEALTHS, STATES } from '../render/mesh-instances.ts'
import { table } from '../render/table.ts'

interface ServicesOptions extends GlobalOptions {
  readonly json?: boolean
  readonly watch?: boolean
}

type RegistryClient = MeshSession['registry']

const PAGE_SIZE = 1_000
const CLEAR_SCREEN = '\u001b[H\u001b[2J'

export const servicesCommand = (cli: Cli): Command =>
  new Command('services')
    .description('instances in the mesh with their state, health, version and address')
    .option('--json', 'proto3 JSON; with --watch one line for each change')
    .option('--watch', 'show every change until Ctrl-C')
    .addHelpText(
      'after',
      `
Examples:
  docmesh services
  docmesh services --watch
  docmesh services --json | jq '.instances[].registration.address'`,
    )
    .action(
      ending<ServicesOptions>(cli, async (options) => {
        const { stdout } = cli.io
        await withMesh(cli, options, ({ registry }) =>
          options.watch ? watch(registry, options, stdout) : show(registry, options, stdout),
        )
        return EXIT.ok
      }),
    )

/** All pages. `service` '' is every service. */
export async function allInstances(registry: RegistryClient, service = ''): Promise<Instance[]> {
  const all: Instance[] = []
  let pageToken = ''
  do {
    const page = await registry.listInstances({ service, pageSize: PAGE_SIZE, pageToken })
    all.push(...page.instances)
    pageToken = page.nextPageToken
  } while (pageToken !== '')
  return all
}

async function show(registry: RegistryClient, { json }: ServicesOptions, stdout: Sink): Promise<void> {
  const instances = await allInstances(registry)
  stdout.write(
    json
      ? jsonText(ListInstancesResponse.toJSON({ instances, nextPageToken: '' }))
      : instanceTable(instances),
  )
}

/** Every update of the watch is a reason to list anew: the registry's list is the truth, the update only its echo. */
async function watch(registry: RegistryClient, { json }: ServicesOptions, stdout: Sink): Promise<void> {
  for await (const _ of registry.watch({})) {
    const instances = await allInstances(registry)
    if (json) {
      stdout.write(`${JSON.stringify(ListInstancesResponse.toJSON({ instances, nextPageToken: '' }))}\n`)
    } else stdout.write(`${stdout.isTTY ? CLEAR_SCREEN : ''}${instanceTable(instances)}`)
  }
}

function instanceTable(instances: readonly Instance[]): string {
  const rows = instances.map(({ registration, state, health }) => [
    registration?.service ?? '-',
    registration?.instanceId ?? '-',
    STATES[state],
    HEALTHS[health],
    registration?.version || '-',
    registration?.address ?? '-',
  ])
  return table(['SERVICE', 'INSTANCE', 'STATE', 'HEALTH', 'VERSION', 'ADDRESS'], rows)
}
