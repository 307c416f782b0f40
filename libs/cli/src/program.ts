import { Command, CommanderError } from 'commander'
import type { Cli } from './cli.ts'
import { analysesCommand } from './commands/analyses.ts'
import { analyzeCommand } from './commands/analyze.ts'
import { batchCommand } from './commands/batch.ts'
import { batchesCommand } from './commands/batches.ts'
import { completionCommand } from './commands/completion.ts'
import { documentsCommand } from './commands/documents.ts'
import { eventsCommand } from './commands/events.ts'
import { jobsCommand } from './commands/jobs.ts'
import { meshCommand } from './commands/mesh.ts'
import { notificationsCommand } from './commands/notifications.ts'
import { recoveriesCommand } from './commands/recoveries.ts'
import { servicesCommand } from './commands/services.ts'
import { startCommand } from './commands/start.ts'
import { statusCommand } from './commands/status.ts'
import { upCommand } from './commands/up.ts'
import { xdsBootstrapCommand } from './commands/xds-bootstrap.ts'
import { EXIT, EXIT_CODES_HELP, type ExitCode } from './exit-codes.ts'
import { failureOf, failureText } from './failure.ts'
import { OutputGone } from './io.ts'
import { addresses, duration } from './parse.ts'
import { VERSION } from './version.ts'

/** The whole command tree. */
export function createProgram(cli: Cli): Command {
  const program = new Command('docmesh')
    .description('Checks documents against rules on a mesh of gRPC services.')
    .version(VERSION, '--version', 'print the version')
    .option('--registry <host:port>', 'the registry of the mesh; several with commas', addresses)
    .option('--data-dir <folder>', 'where a mesh on this machine keeps its data ($DOCMESH_HOME)')
    .option('--user <id>', 'act as this user; default: your name on this machine')
    .option('--tenant <id>', 'act for this tenant')
    .option('--timeout <time>', 'most time for everything, such as 30s or 2m', duration)
    .option('--verbose', 'show logs, and where errors come from')
    .option('--no-color', 'no colours; NO_COLOR does the same')
    .addHelpText(
      'after',
      `
Without --registry the mesh is found by REGISTRY_TARGET, then by the data folder, then at 127.0.0.1:7400.
${EXIT_CODES_HELP}

Examples:
  docmesh start --once
  docmesh analyze contract.pdf --fail-under 70
  docmesh status`,
    )
  for (const create of [
    startCommand,
    upCommand,
    analyzeCommand,
    analysesCommand,
    batchCommand,
    batchesCommand,
    documentsCommand,
    jobsCommand,
    servicesCommand,
    meshCommand,
    eventsCommand,
    statusCommand,
    notificationsCommand,
    recoveriesCommand,
    xdsBootstrapCommand,
    completionCommand,
  ]) {
    program.addCommand(create(cli))
  }
  prepare(program, cli)
  return program
}

/** Commands made on their own do not inherit; what a user sees must come from our streams everywhere. */
function prepare(command: Command, cli: Cli): void {
  const { stdout, stderr } = cli.io
  command.configureHelp({ showGlobalOptions: true })
  command.exitOverride().configureOutput({
    writeOut: (text) => void stdout.write(text),
    writeErr: (text) => void stderr.write(text),
    getOutHelpWidth: () => stdout.columns || 100,
    getErrHelpWidth: () => stderr.columns || 100,
    outputError: (text, write) => write(usageText(text, command)),
  })
  for (const sub of command.commands) prepare(sub, cli)
}

function usageText(text: string, command: Command): string {
  const what = text
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .trim()
  const path = [command.name()]
  for (let parent = command.parent; parent; parent = parent.parent) path.unshift(parent.name())
  const hint = `${path.join(' ')} --help shows how`
  return failureText({ exitCode: EXIT.usage, what, hint, fields: [] })
}

const HELP_WAS_ASKED_FOR = ['commander.helpDisplayed', 'commander.version']

/** Runs one command line and returns what the process should end with; all that goes wrong is told on stderr. */
export async function runProgram(args: readonly string[], deps: Omit<Cli, 'exit'>): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.ok
  const program = createProgram({ ...deps, exit: (code) => (exitCode = code) })
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return HELP_WAS_ASKED_FOR.includes(error.code) ? EXIT.ok : EXIT.usage
    if (deps.io.signal.reason instanceof OutputGone) return EXIT.ok
    const failure = failureOf(error, deps.io.signal.aborted)
    deps.io.stderr.write(failureText(failure))
    if (program.opts().verbose && error instanceof Error) deps.io.stderr.write(`${traceOf(error)}\n`)
    return failure.exitCode
  }
}

const traceOf = (error: Error): string =>
  error.cause instanceof Error ? `${error.stack}\ncaused by ${traceOf(error.cause)}` : String(error.stack)
