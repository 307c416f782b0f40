import { type Document, LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'
import { KINDS } from './kinds/catalogue.ts'
import { type PackSpec, packSchema, type RuleSpec } from './pack-schema.ts'

const MAX_SOURCE = 1_048_576

export interface PackSource {
  /** Shown in problems, e.g. the file name. */
  readonly name: string
  readonly yaml: string
}

/** What is wrong with a pack and what to write instead. */
export interface PackProblem {
  readonly source: string
  readonly line?: number
  /** e.g. `rules[3].section.minWords`. */
  readonly path: string
  readonly value?: string
  readonly rule?: string
  readonly write: string
}

export interface ParsedPack {
  readonly spec: PackSpec
  /** The source as data, variables in place. */
  readonly data: unknown
}

type Path = readonly PropertyKey[]

const showPath = (path: Path): string =>
  path.reduce<string>(
    (shown, key) => (typeof key === 'number' ? `${shown}[${key}]` : `${shown}${shown && '.'}${String(key)}`),
    '',
  )

const valueAt = (data: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    data,
  )

/** `${name}` becomes the variable, with its type when it is the whole value. Tests keep their text as written. */
const insertVars = (value: unknown, vars: Readonly<Record<string, unknown>>): unknown => {
  if (typeof value === 'string') {
    const whole = /^\$\{(\w+)\}$/.exec(value)?.[1]
    if (whole !== undefined && whole in vars) return vars[whole]
    return value.replace(/\$\{(\w+)\}/g, (written, name: string) =>
      name in vars ? String(vars[name]) : written,
    )
  }
  if (Array.isArray(value)) return value.map((item) => insertVars(item, vars))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, key === 'tests' ? item : insertVars(item, vars)]),
  )
}

const adviceOf = (issue: z.core.$ZodIssue): string => {
  if (issue.code === 'unrecognized_keys') return `remove ${issue.keys.join(', ')}: no such setting here`
  if (issue.code === 'invalid_type' && issue.message.startsWith('Invalid input'))
    return `write a ${issue.expected}`
  return issue.message
}

interface Complaint {
  readonly path: Path
  readonly write: string
}

const unknownWords = (text: string, known: readonly string[]): string[] =>
  [...text.matchAll(/\{(\w+)\}/g)].flatMap(([, name]) =>
    name === undefined || known.includes(name) ? [] : [name],
  )

/** What the shape alone cannot say: ids used twice, and `{words}` in messages that the kind does not fill. */
const complaintsOf = ({ rules }: PackSpec): Complaint[] =>
  rules.flatMap((rule: RuleSpec, index) => {
    const twice = rules.findIndex(({ id }) => id === rule.id) < index
    const known = KINDS.find(({ name }) => name === rule.kind)?.values ?? []
    const messages =
      typeof rule.message === 'string'
        ? [rule.message]
        : Object.values(rule.message).filter((text) => text !== undefined)
    const unknown = messages.flatMap((message) => unknownWords(message, known))
    const may = known.length === 0 ? 'no {words}' : known.map((name) => `{${name}}`).join(', ')
    return [
      ...(twice
        ? [{ path: ['rules', index, 'id'], write: 'write an id that no other rule of the pack has' }]
        : []),
      ...(unknown.length > 0
        ? [{ path: ['rules', index, 'message'], write: `a message of this kind may use ${may}` }]
        : []),
    ]
  })

/** Aliases can grow without bound or contain themselves, and a pack does not need them. */
const withoutAliases = (document: Document): object | undefined => {
  try {
    return { ...document.toJS({ maxAliasCount: 0 }) }
  } catch (cause) {
    if (cause instanceof ReferenceError) return undefined
    throw cause
  }
}

/** Reads one pack; problems come with their line and the value found there. */
export const parsePack = ({
  name,
  yaml,
}: PackSource): { readonly pack?: ParsedPack; readonly problems: readonly PackProblem[] } => {
  if (yaml.length > MAX_SOURCE) {
    return { problems: [{ source: name, path: '', write: `write at most ${MAX_SOURCE} characters` }] }
  }
  const lines = new LineCounter()
  const document = parseDocument(yaml, { lineCounter: lines, prettyErrors: false })
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ message, pos }) => {
      return { source: name, path: '', line: lines.linePos(pos[0]).line, write: `valid YAML: ${message}` }
    })
    return { problems }
  }
  const written = withoutAliases(document)
  if (written === undefined) {
    return {
      problems: [{ source: name, path: '', write: 'write values out in full: aliases (*name) are refused' }],
    }
  }
  const vars = valueAt(written, ['vars'])
  const data = insertVars(written, typeof vars === 'object' && vars !== null ? { ...vars } : {})
  const problem = ({ path, write }: Complaint): PackProblem => {
    const node = document.getIn(path, true)
    const range = typeof node === 'object' && node !== null ? Reflect.get(node, 'range') : undefined
    const value = valueAt(data, path)
    const rule = path[0] === 'rules' ? valueAt(data, ['rules', path[1] ?? 0, 'id']) : undefined
    return {
      source: name,
      path: showPath(path),
      ...(Array.isArray(range) && { line: lines.linePos(Number(range[0])).line }),
      ...(value !== undefined && { value: JSON.stringify(value).slice(0, 120) }),
      ...(typeof rule === 'string' && { rule }),
      write,
    }
  }
  const result = packSchema.safeParse(data)
  if (!result.success) {
    return {
      problems: result.error.issues.map((issue) => problem({ path: issue.path, write: adviceOf(issue) })),
    }
  }
  const complaints = complaintsOf(result.data)
  return complaints.length > 0
    ? { problems: complaints.map(problem) }
    : { pack: { spec: result.data, data }, problems: [] }
}

export const formatProblem = ({ source, line, path, value, rule, write }: PackProblem): string =>
  [
    `${source}${line === undefined ? '' : `:${line}`}`,
    ...(rule === undefined ? [] : [`rule ${rule}`]),
    path === '' ? write : `${path}${value === undefined ? '' : ` is ${value}`}: ${write}`,
  ].join(': ')

const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]))
}

/** JSON with sorted keys: comments and layout of the YAML do not change it. */
export const canonicalJson = (data: unknown): string => JSON.stringify(sorted(data))
