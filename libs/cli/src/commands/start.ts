import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '@docmesh/postgres'
import { Command } from 'commander'
import { type Cli, dataDirFor, ending, withMesh } from '../cli.ts'
import { REPO_ROOT, readMeshState } from '../data-dir.ts'
import type { ExitCode } from '../exit-codes.ts'
import { failureOf, failureText } from '../failure.ts'
import type { LocalMesh } from '../local-mesh.ts'
import type { MeshSession } from '../mesh-session.ts'
import { createMeshView } from '../render/mesh-view.ts'
import { instancesOption, noHealOption, runMesh, type UpOptions } from '../run-mesh.ts'
import { analyzeFiles, type ReportOptions, withReportOptions } from './analyze.ts'

interface StartOptions extends UpOptions, ReportOptions {
  /** A file, or true for the sample. */
  readonly once?: string | true
}

const SAMPLE = join(REPO_ROOT, 'services', 'document', 'fixtures', 'sample-contract.pdf')
const POLL_MS = 500

export const startCommand = (cli: Cli): Command =>
  withReportOptions(
    new Command('start')
      .description('run the mesh and check a sample contract with it; what `npm start` does')
      .option('--once [file]', 'check this file, or the sample, then stop everything')
      .addOption(instancesOption())
      .addOption(noHealOption()),
  )
    .addHelpText(
      'after',
      `
--once runs a mesh of its own on free ports, unless one runs already on the data folder. The report goes to standard
output, everything else to standard error.

Examples:
  docmesh start
  docmesh start --once
  docmesh start --once contract.docx --json --fail-under 70`,
    )
    .action(
      ending<StartOptions>(cli, (options) =>
        options.once === undefined
          ? runMesh(cli, options, (mesh) => demonstrate(cli, options, mesh))
          : startOnce(cli, options, options.once === true ? SAMPLE : options.once),
      ),
    )

const analyzeWith = (cli: Cli, options: StartOptions, file: string, mesh: LocalMesh): Promise<ExitCode> =>
  withMesh(
    cli,
    options,
    async (session: MeshSession) => {
      await session.awaitServices(['document', 'analysis'])
      return analyzeFiles([file], options, session, cli)
    },
    [mesh.registry],
  )

/** The sample shows that it works; whatever comes of it, the mesh stays up. */
async function demonstrate(cli: Cli, options: StartOptions, mesh: LocalMesh): Promise<void> {
  const { io } = cli
  try {
    await analyzeWith(cli, options, SAMPLE, mesh)
  } catch (error) {
    if (io.signal.aborted) return
    io.stderr.write(failureText(failureOf(error)))
  }
  io.stderr.write(`
That was a sample. What you can do now, in another terminal:
  npm run docmesh -- analyze FILE    check a document of yours
  npm run docmesh -- services        the instances and their gRPC addresses
  npm run docmesh -- status          how they are
The registry answers gRPC (with reflection) on ${mesh.registry}. Stop with Ctrl-C.

`)
}

async function startOnce(cli: Cli, options: StartOptions, file: string): Promise<ExitCode> {
  const { io } = cli
  const dataDir = dataDirFor(cli, options)
  for (let told = false; ; ) {
    const running = readMeshState(dataDir)
    if (running?.open) {
      io.stderr.write(`using the mesh of process ${running.pid} on ${running.registry}\n`)
      return withMesh(cli, options, (session) => analyzeFiles([file], options, session, cli), [
        running.registry,
      ])
    }
    const done = await onPrivateMesh(cli, options, dataDir, file)
    if (done !== 'held') return done
    if (!told) io.stderr.write(`another docmesh works on ${dataDir}; waiting for it\n`)
    told = true
    await delay(POLL_MS, undefined, { signal: io.signal })
  }
}

async function onPrivateMesh(
  cli: Cli,
  options: StartOptions,
  dataDir: string,
  file: string,
): Promise<ExitCode | 'held'> {
  const { io } = cli
  const view = createMeshView(io.stderr, Date.now)
  try {
    const started = await cli.startMesh(
      {
        dataDir,
        registry: options.registry ?? `127.0.0.1:${await freePort()}`,
        instances: options.instances ?? { document: 1, analysis: 1, notification: options.notify ? 1 : 0 },
        shared: false,
        verbose: options.verbose === true,
        onChange: view.changed,
      },
      io,
    )
    if (started.kind === 'held') return 'held'
    view.pause()
    try {
      return await analyzeWith(cli, options, file, started.mesh)
    } finally {
      await started.mesh.stop()
    }
  } finally {
    view.end()
  }
}
