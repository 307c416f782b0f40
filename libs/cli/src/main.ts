#!/usr/bin/env node
import { EXIT, type ExitCode } from './exit-codes.ts'
import { failureText } from './failure.ts'
import { createInterrupt } from './interrupt.ts'
import { OutputGone } from './io.ts'
import { startLocalMesh } from './local-mesh.ts'
import { connectMesh } from './mesh-session.ts'
import { runProgram } from './program.ts'

const interrupt = createInterrupt(() => performance.now())
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupt.ask(name))
interrupt.onInsist(() => process.exit(EXIT.interrupted))

/** Codes of a pipe or terminal whose other end has gone: `docmesh documents list | head -1`. */
const READER_GONE = ['EPIPE', 'EIO']
let unwritten: NodeJS.ErrnoException | undefined
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  unwritten ??= error
  if (!interrupt.signal.aborted) interrupt.ask('end of output', new OutputGone())
})
// A terminal that has gone must not keep us from stopping in order what we started.
process.stderr.on('error', () => {})

const { stdout, stderr, stdin, env } = process
const exitCode = await runProgram(process.argv.slice(2), {
  io: { stdout, stderr, stdin, env, signal: interrupt.signal, onInsist: interrupt.onInsist },
  connect: connectMesh,
  startMesh: startLocalMesh,
})
// process.exit would cut off what a slow reader of a pipe has not taken yet, and what went wrong with it.
stdout.write('', () => setImmediate(() => process.exit(finalCode())))

function finalCode(): ExitCode {
  if (!unwritten || READER_GONE.includes(unwritten.code ?? '')) return exitCode
  const what = `cannot write the output: ${unwritten.message}`
  stderr.write(
    failureText({ exitCode: EXIT.failed, what, hint: 'make room, or write elsewhere', fields: [] }),
  )
  return EXIT.failed
}
