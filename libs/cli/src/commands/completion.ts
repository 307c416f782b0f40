import { Argument, Command } from 'commander'
import type { Cli } from '../cli.ts'
import { completionScript, SHELLS, type Shell } from '../completion.ts'

export const completionCommand = ({ io }: Cli): Command =>
  new Command('completion')
    .description('print a completion script for a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  source <(docmesh completion bash)
  docmesh completion zsh > ~/.zfunc/_docmesh
  docmesh completion fish > ~/.config/fish/completions/docmesh.fish`,
    )
    .action((shell: Shell, _options: unknown, command: Command) => {
      io.stdout.write(completionScript(command.parent ?? command, shell))
    })
