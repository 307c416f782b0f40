import type { Argument, Command, Option } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** One word that can be completed, and what it means. */
interface Entry {
  readonly word: string
  readonly description: string
}

/** What can follow a command, e.g. after `docmesh documents`. */
interface Node {
  /** The command with its parents: `docmesh documents list`. */
  readonly path: string
  readonly entries: readonly Entry[]
  /** Flags whose value is one of a few. */
  readonly choices: readonly { readonly flag: string; readonly values: readonly string[] }[]
  readonly options: readonly {
    readonly flag: string
    readonly description: string
    readonly takesValue: boolean
  }[]
  readonly words: readonly Entry[]
}

/** A completion script made from the commands themselves, so that it cannot disagree with them. */
export function completionScript(program: Command, shell: Shell): string {
  const nodes = nodesOf(program, program.name(), program.options)
  return { bash, zsh, fish }[shell](program.name(), nodes)
}

function nodesOf(command: Command, path: string, shared: readonly Option[]): Node[] {
  const subcommands = command.commands.map((sub) => ({ word: sub.name(), description: sub.description() }))
  const values = command.registeredArguments.flatMap((argument: Argument) => argument.argChoices ?? [])
  const options = [...new Set([...command.options, ...shared])].flatMap(flagOf)
  const words = [...subcommands, ...values.map((word) => ({ word, description: word }))]
  const node: Node = {
    path,
    words,
    options,
    entries: [...words, ...options.map(({ flag: word, description }) => ({ word, description }))],
    choices: command.options.flatMap(({ long, argChoices }) =>
      long && argChoices ? [{ flag: long, values: argChoices }] : [],
    ),
  }
  return [node, ...command.commands.flatMap((sub) => nodesOf(sub, `${path} ${sub.name()}`, shared))]
}

const flagOf = ({ long, description, required, optional }: Option) =>
  long ? [{ flag: long, description, takesValue: required || optional }] : []

/** A word in single quotes, for all three shells. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

const caseOf = (nodes: readonly Node[]): string => nodes.map(({ path }) => quoted(path)).join('|')

const choiceCases = (nodes: readonly Node[], line: (values: string) => string): string =>
  nodes
    .flatMap(({ path, choices }) =>
      choices.map(({ flag, values }) => `    (${quoted(`${path}|${flag}`)}) ${line(values.join(' '))} ;;`),
    )
    .join('\n')

const bash = (name: string, nodes: readonly Node[]): string => `# Completion of ${name} for bash.
_${name}() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" at=${name} word
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at $word" in
      (${caseOf(nodes)}) at="$at $word" ;;
    esac
  done
  case "$at|$prev" in
${choiceCases(nodes, (values) => `COMPREPLY=($(compgen -W ${quoted(values)} -- "$cur")); return`)}
  esac
  case "$at" in
${nodes.map(({ path, entries }) => `    (${quoted(path)}) COMPREPLY=($(compgen -W ${quoted(entries.map(({ word }) => word).join(' '))} -- "$cur")) ;;`).join('\n')}
  esac
}
complete -o default -F _${name} ${name}
`

const described = ({ word, description }: Entry): string =>
  quoted(`${word.replaceAll(':', '\\:')}:${description}`)

const zsh = (name: string, nodes: readonly Node[]): string => `#compdef ${name}
_${name}() {
  local at=${name} word
  local -a entries
  for word in \${words[2,CURRENT-1]}; do
    case "$at $word" in
      (${caseOf(nodes)}) at="$at $word" ;;
    esac
  done
  case "$at|\${words[CURRENT-1]}" in
${choiceCases(nodes, (values) => `compadd -- ${values}; return`)}
  esac
  case "$at" in
${nodes.map(({ path, entries }) => `    (${quoted(path)}) entries=(${entries.map(described).join(' ')}) ;;`).join('\n')}
  esac
  _describe ${quoted(name)} entries
  _files
}
if [ "$funcstack[1]" = "_${name}" ]; then
  _${name} "$@"
else
  compdef _${name} ${name}
fi
`

const fish = (name: string, nodes: readonly Node[]): string => {
  const lines = nodes.flatMap(({ path, words, options, choices }) => {
    const when = `complete -c ${name} -n ${quoted(`__${name}_at ${quoted(path)}`)}`
    return [
      ...words.map(({ word, description }) => `${when} -f -a ${quoted(word)} -d ${quoted(description)}`),
      ...options.map(({ flag, description, takesValue }) => {
        const values = choices.find((choice) => choice.flag === flag)?.values
        const value = values ? ` -x -a ${quoted(values.join(' '))}` : takesValue ? ' -r' : ''
        return `${when} -l ${flag.slice(2)}${value} -d ${quoted(description)}`
      }),
    ]
  })
  return `# Completion of ${name} for fish.
function __${name}_at
  set -l at ${name}
  for word in (commandline -opc)[2..]
    switch "$at $word"
      case ${nodes.map(({ path }) => quoted(path)).join(' ')}
        set at "$at $word"
    end
  end
  test "$at" = "$argv[1]"
end
${lines.join('\n')}
`
}
