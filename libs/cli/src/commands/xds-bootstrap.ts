import { writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, registryTargets } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import { CliError } from '../failure.ts'
import { hostAndPort } from '../parse.ts'

interface BootstrapOptions extends GlobalOptions {
  readonly node: string
  readonly zone: string
  readonly output?: string
}

export const xdsBootstrapCommand = (cli: Cli): Command =>
  new Command('xds-bootstrap')
    .description('print what a stock gRPC client needs to call services of the mesh as xds:///SERVICE')
    .option('--node <id>', 'how the registry calls this client', hostname())
    .option('--zone <zone>', 'where this client runs', '')
    .option('--output <file>', 'write to this file instead of standard output')
    .addHelpText(
      'after',
      `
The client finds the file by GRPC_XDS_BOOTSTRAP, or the text itself in GRPC_XDS_BOOTSTRAP_CONFIG. gRPC for C++, Python,
Ruby, Go and Java knows xds:/// by itself; Node needs @grpc/grpc-js-xds. Several registries must be IP addresses.

Examples:
  docmesh xds-bootstrap --registry 10.0.0.7:7400 --output bootstrap.json
  GRPC_XDS_BOOTSTRAP=bootstrap.json python3 client.py   # grpc.insecure_channel('xds:///document')`,
    )
    .action(
      ending<BootstrapOptions>(cli, async (options) => {
        const text = `${JSON.stringify(bootstrap(registryTargets(cli, options), options), null, 2)}\n`
        await deliver(cli, text, options.output)
        return EXIT.ok
      }),
    )

/** What grpcio 1.51 and grpc-js-xds 1.14 both take: grpc-js wants a locality, both want credentials. */
const bootstrap = (registries: readonly string[], { node, zone }: BootstrapOptions) => ({
  xds_servers: [
    {
      server_uri: serverUri(registries),
      channel_creds: [{ type: 'insecure' }],
      server_features: ['xds_v3'],
    },
  ],
  node: { id: node, cluster: 'docmesh', locality: { zone } },
})

/** Clients use one server only, but its name may have several addresses. */
function serverUri(registries: readonly string[]): string {
  const [first = ''] = registries
  if (registries.length === 1) return first
  const families = registries.map((address) => isIP(hostAndPort(address).host))
  const [family] = families
  if (!family || families.some((each) => each !== family)) {
    throw new CliError(
      EXIT.usage,
      'several registries must be IP addresses of one kind: gRPC clients take several addresses, but one name',
      'name them by address, or one that stands for all',
    )
  }
  return `ipv${family}:${registries.join(',')}`
}

async function deliver({ io }: Cli, text: string, output: string | undefined): Promise<void> {
  if (output === undefined) return void io.stdout.write(text)
  try {
    await writeFile(output, text)
  } catch (cause) {
    throw new CliError(
      EXIT.usage,
      `cannot write ${output}: ${(cause as Error).message}`,
      'name another file with --output',
      { cause },
    )
  }
  io.stderr.write(`bootstrap written to ${output}\n`)
}
