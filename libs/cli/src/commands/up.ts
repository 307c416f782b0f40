import { Command } from 'commander'
import { type Cli, DEFAULT_REGISTRY, ending } from '../cli.ts'
import { instancesOption, noHealOption, runMesh, type UpOptions } from '../run-mesh.ts'

export const upCommand = (cli: Cli): Command =>
  new Command('up')
    .description('run the whole mesh on this machine until Ctrl-C')
    .addOption(instancesOption())
    .addOption(noHealOption())
    .addHelpText(
      'after',
      `
--registry is the address that the registry listens on (${DEFAULT_REGISTRY}). DATABASE_URL, NATS_URL and REDIS_URL are used
when they are set; without DATABASE_URL docmesh runs a PostgreSQL of its own in the data folder.

Examples:
  docmesh up
  docmesh up --instances document=4,analysis=2 --registry 127.0.0.1:7500
  DATABASE_URL=postgres://me@db/docmesh docmesh up --verbose`,
    )
    .action(ending<UpOptions>(cli, (options) => runMesh(cli, options, async () => {})))
