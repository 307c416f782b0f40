import { spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { answerLine } from './implementation.ts'
import { type Answer, checkVectors, loadVectors } from './vectors.ts'

const COMMAND_TIMEOUT_MS = 60_000

const { values, positionals } = parseArgs({
  options: { command: { type: 'string' }, answer: { type: 'boolean' } },
  allowPositionals: true,
})

const answer = values.command === undefined ? ours : commandAnswer(values.command)
if (values.answer) await answerStdin()
else process.exitCode = check(positionals, answer)

/** Checks the named algorithms, or all of them, and returns the exit code. */
function check(names: readonly string[], answer: Answer): number {
  const vectors = loadVectors().filter(({ algorithm }) => names.length === 0 || names.includes(algorithm))
  const reports = vectors.map((each) => checkVectors(each, answer))
  for (const { algorithm, cases, checks, failures } of reports) {
    const verdict = failures.length === 0 ? 'ok' : `${failures.length} failed`
    process.stdout.write(`${algorithm}: ${cases} cases, ${checks} checks: ${verdict}\n`)
    for (const failure of failures) process.stdout.write(`  ${failure}\n`)
  }
  return reports.length > 0 && reports.every(({ failures }) => failures.length === 0) ? 0 : 1
}

function ours(lines: readonly string[]): readonly string[] {
  return lines.map(answerLine)
}

/** An implementation that is a program: questions on its stdin, then the end; answers on its stdout. */
function commandAnswer(command: string): Answer {
  return (lines) =>
    spawnSync(command, {
      shell: true,
      input: `${lines.join('\n')}\n`,
      stdio: ['pipe', 'pipe', 'inherit'],
      encoding: 'utf8',
      timeout: COMMAND_TIMEOUT_MS,
    }).stdout.split('\n')
}

/** This library as such a program, for others to imitate. */
async function answerStdin(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${answerLine(line)}\n`)
  }
}
