#!/usr/bin/env node
import { EXIT } from './exit-codes.ts'
import { createInterrupt } from './interrupt.ts'
import { startLocalMesh } from './local-mesh.ts'
import { connectMesh } from './mesh-session.ts'
import { runProgram } from './program.ts'

const interrupt = createInterrupt(() => performance.now())
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupt.ask(name))
interrupt.onInsist(() => process.exit(EXIT.interrupted))

// The reader has seen enough: `docmesh documents list | head -1`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(EXIT.ok)
})

const { stdout, stderr, stdin, env } = process
const exitCode = await runProgram(process.argv.slice(2), {
  io: { stdout, stderr, stdin, env, signal: interrupt.signal, onInsist: interrupt.onInsist },
  connect: connectMesh,
  startMesh: startLocalMesh,
})
// process.exit would cut off what a slow reader of a pipe has not taken yet.
stdout.write('', () => process.exit(exitCode))
