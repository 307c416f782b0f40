import type { HealingEvent } from '@docmesh/healing'
import { Option } from 'commander'
import { type Cli, DEFAULT_REGISTRY, dataDirFor, type GlobalOptions } from './cli.ts'
import type { MeshState } from './data-dir.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { CliError } from './failure.ts'
import { healingLine } from './healing/line.ts'
import { aborted } from './io.ts'
import type { Instances, LocalMesh } from './local-mesh.ts'
import { instances } from './parse.ts'
import { createMeshView, type MeshView } from './render/mesh-view.ts'

export interface UpOptions extends GlobalOptions {
  readonly instances?: Instances
  /** False with --no-heal. */
  readonly heal?: boolean
}
const DEFAULT_INSTANCES: Instances = { document: 2, analysis: 2, notification: 1 }

export const instancesOption = (): Option =>
  new Option('--instances <list>', 'processes of each service (document=2,analysis=2)').argParser(instances)

export const noHealOption = (): Option =>
  new Option('--no-heal', 'leave alone what hangs or is short of memory, and a database that ends')

/** Runs a mesh that others may use, until Ctrl-C. `whenReady` may use the terminal: the view is paused meanwhile. */
export async function runMesh(
  cli: Cli,
  options: UpOptions,
  whenReady: (mesh: LocalMesh) => Promise<void>,
): Promise<ExitCode> {
  const { io } = cli
  const dataDir = dataDirFor(cli, options)
  const view = createMeshView(io.stderr, Date.now)
  let shown = false
  const onEvent = (event: HealingEvent): void => {
    view.pause()
    io.stderr.write(healingLine(event))
    if (shown) view.resume()
  }
  try {
    const started = await cli.startMesh(
      {
        dataDir,
        registry: options.registry ?? DEFAULT_REGISTRY,
        instances: options.instances ?? DEFAULT_INSTANCES,
        shared: true,
        verbose: options.verbose === true,
        healing: options.heal === false ? undefined : { onEvent },
        onChange: view.changed,
      },
      io,
    )
    if (started.kind === 'held') throw alreadyRuns(started.holder, dataDir)
    return await untilStopped(cli, started.mesh, view, async () => {
      view.pause()
      io.stderr.write(`The mesh is up; its registry is on ${started.mesh.registry}, its data in ${dataDir}\n`)
      await whenReady(started.mesh)
      shown = true
      view.resume()
    })
  } finally {
    view.end()
  }
}

async function untilStopped(
  { io }: Cli,
  mesh: LocalMesh,
  view: MeshView,
  work: () => Promise<void>,
): Promise<ExitCode> {
  try {
    const end = Promise.race([aborted(io.signal), mesh.gaveUp])
    await Promise.race([work(), end])
    const gaveUp = await end
    if (!gaveUp) return EXIT.ok
    const { spec, state } = gaveUp
    const current = state()
    const why = current.kind === 'failed' ? current.why : 'it gave up'
    throw new CliError(EXIT.failed, `${spec.name} cannot go on: ${why}`, `its log is ${spec.logFile}`)
  } finally {
    view.end()
    io.stderr.write('stopping the mesh\n')
    await mesh.stop()
  }
}

const alreadyRuns = ({ pid, registry, open }: MeshState, dataDir: string): CliError =>
  new CliError(
    EXIT.usage,
    `a mesh ${open ? 'runs' : 'is starting or at work'} already on ${dataDir}: process ${pid}, registry ${registry}`,
    'use it, stop it, or choose another folder with --data-dir',
  )
