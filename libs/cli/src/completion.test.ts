import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { completionScript, SHELLS } from './completion.ts'
import { createProgram } from './program.ts'
import { docmesh, testIo } from './testing.fixture.ts'

const unused = () => Promise.reject(new Error('not in this test'))
const program = createProgram({ io: testIo().io, connect: unused, startMesh: unused, exit: () => {} })

/** What bash offers after these words; the last one is being typed. */
function offered(...words: string[]): string[] {
  const script = `${completionScript(program, 'bash')}
COMP_WORDS=(docmesh ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _docmesh
printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8' })
  if (stderr) throw new Error(stderr)
  return stdout.split('\n').filter(Boolean)
}

describe('completion in bash', () => {
  it('offers the commands that begin like the word', () => {
    expect(offered('st')).toEqual(['start', 'status'])
  })

  it('offers subcommands', () => {
    expect(offered('documents', 'd')).toEqual(['download', 'delete'])
  })

  it('offers the options of the command and the global ones', () => {
    expect(offered('analyze', '--f')).toEqual(['--format', '--fail-under'])
    expect(offered('documents', 'list', '--re')).toEqual(['--registry'])
  })

  it('finds the command behind options and their values', () => {
    expect(offered('documents', '--user', 'ana', 'list', '--page-s')).toEqual(['--page-size'])
  })

  it('offers the values of an option, and shells', () => {
    expect(offered('analyze', 'a.pdf', '--format', 's')).toEqual(['sarif'])
    expect(offered('completion', '')).toEqual(expect.arrayContaining(['bash', 'zsh', 'fish']))
  })

  it('leaves files to the shell', () => {
    expect(offered('analyze', 'contra')).toEqual([])
  })
})

describe.each(SHELLS)('completion for %s', (shell) => {
  it('knows every command of the tree', () => {
    const script = completionScript(program, shell)
    for (const command of program.commands) expect(script).toContain(command.name())
    expect(script).toContain('docmesh documents versions')
  })

  it('is what `docmesh completion` prints', async () => {
    const { out, exitCode } = await docmesh(['completion', shell])
    expect({ exitCode, out }).toEqual({ exitCode: 0, out: completionScript(program, shell) })
  })
})

it('quotes descriptions for fish and zsh', () => {
  const description = program.commands.find((command) => command.name() === 'status')?.description()
  program.commands.find((command) => command.name() === 'status')?.description("it's: fine")
  expect(completionScript(program, 'fish')).toContain("-d 'it'\\''s: fine'")
  expect(completionScript(program, 'zsh')).toContain("'status:it'\\''s: fine'")
  program.commands.find((command) => command.name() === 'status')?.description(description ?? '')
})
