import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { compileField } from './fields.ts'
import { KINDS } from './kinds/catalogue.ts'
import type { BoundRule, Fields, Localised } from './kinds/kind.ts'
import type { LocalisedSpec, PackSpec, RuleSpec, RuleTest, Severity } from './pack-schema.ts'
import {
  canonicalJson,
  formatProblem,
  type PackProblem,
  type PackSource,
  type ParsedPack,
  parsePack,
} from './pack-source.ts'
import { indexTerms, type TermIndex } from './terms.ts'

export interface Reference {
  readonly label: string
  readonly url?: string
}

/** A rule that is ready to run; pack, conditions and version are those of the pack that wrote it. */
export interface CompiledRule extends BoundRule {
  readonly id: string
  readonly packId: string
  readonly packVersion: string
  readonly kind: string
  readonly severity: Severity
  readonly category: string
  readonly title: Localised
  readonly message: Localised
  readonly remediation: Localised
  readonly references: readonly Reference[]
  readonly maxCount: number
  readonly appliesTo: PackSpec['appliesTo']
  readonly validity: PackSpec['validity']
  readonly tests: readonly RuleTest[]
}

export interface CompiledPack {
  readonly id: string
  readonly version: string
  readonly title: Localised
  /** SHA-256 of the canonical source and of the packs it extends. */
  readonly hash: string
  /** Inherited rules first; a rule with the id of an inherited one takes its place. */
  readonly rules: readonly CompiledRule[]
  readonly fields: Fields
  readonly terms: TermIndex
}

const localise = (text: LocalisedSpec, fallback: 'pt-BR' | 'en'): Localised => {
  if (typeof text === 'string') return { 'pt-BR': text, en: text }
  const any = text[fallback] ?? text['pt-BR'] ?? text.en ?? ''
  return { 'pt-BR': text['pt-BR'] ?? any, en: text.en ?? any }
}

const referenceOf = ({ law, art, url }: RuleSpec['references'][number]): Reference => {
  const label = [law, art === undefined ? undefined : `art. ${art}`]
    .filter((part) => part !== undefined)
    .join(', ')
  return { label: label || (url ?? ''), ...(url !== undefined && { url }) }
}

const compileRule = (rule: RuleSpec, pack: PackSpec, fields: Fields): CompiledRule | undefined => {
  const kind = KINDS.find(({ name }) => name === rule.kind)
  if (kind === undefined) return undefined
  return {
    ...kind.bind(rule, fields),
    id: rule.id,
    packId: pack.id,
    packVersion: pack.version,
    kind: rule.kind,
    severity: rule.severity,
    category: rule.category,
    title: localise(rule.title, pack.locale),
    message: localise(rule.message, pack.locale),
    remediation: localise(rule.remediation, pack.locale),
    references: rule.references.map(referenceOf),
    maxCount: rule.score.maxCount,
    appliesTo: pack.appliesTo,
    validity: pack.validity,
    tests: rule.tests,
  }
}

/** The same pack with these rules only. */
export const withRules = (pack: CompiledPack, rules: readonly CompiledRule[]): CompiledPack => ({
  ...pack,
  rules,
  terms: indexTerms(rules.flatMap(({ terms }) => terms)),
})

const unknownFields = (spec: PackSpec, fields: Fields): PackProblem[] =>
  spec.rules.flatMap((rule: RuleSpec, index) => {
    const named = KINDS.find(({ name }) => name === rule.kind)?.fieldsOf(rule) ?? []
    return named
      .filter((name) => !fields.has(name))
      .map((name) => ({
        source: spec.id,
        path: `rules[${index}]`,
        rule: rule.id,
        value: name,
        write: `write a field of the pack: ${[...fields.keys()].join(', ') || 'it has none'}`,
      }))
  })

const compilePack = (
  { spec, data }: ParsedPack,
  parents: readonly CompiledPack[],
): CompiledPack | PackProblem[] => {
  const inherited = parents.flatMap((parent) => [...parent.fields])
  const own = Object.entries(spec.fields).map(([name, field]) => [name, compileField(field)] as const)
  const fields: Fields = new Map([...inherited, ...own])
  const unknown = unknownFields(spec, fields)
  if (unknown.length > 0) return unknown
  const rules = new Map(parents.flatMap((parent) => parent.rules.map((rule) => [rule.id, rule] as const)))
  for (const rule of spec.rules) {
    const compiled = compileRule(rule, spec, fields)
    if (compiled !== undefined) rules.set(rule.id, compiled)
  }
  const hash = createHash('sha256').update(canonicalJson(data))
  for (const parent of parents) hash.update(parent.hash)
  const pack = {
    id: spec.id,
    version: spec.version,
    title: localise(spec.title, spec.locale),
    hash: hash.digest('hex'),
    fields,
  }
  const list = [...rules.values()]
  return { ...pack, rules: list, terms: indexTerms(list.flatMap(({ terms }) => terms)) }
}

export interface CompiledPacks {
  readonly packs: ReadonlyMap<string, CompiledPack>
  readonly problems: readonly PackProblem[]
}

/** Compiles packs that may extend each other or the `shipped` ones. Packs with problems are left out. */
export const compilePacks = (
  sources: readonly PackSource[],
  shipped: ReadonlyMap<string, CompiledPack> = new Map(),
): CompiledPacks => {
  const problems: PackProblem[] = []
  const parsed = new Map<string, ParsedPack>()
  for (const source of sources) {
    const { pack, problems: found } = parsePack(source)
    problems.push(...found)
    if (pack === undefined) continue
    if (parsed.has(pack.spec.id)) {
      problems.push({
        source: source.name,
        path: 'id',
        value: pack.spec.id,
        write: 'write an id no other pack has',
      })
    }
    parsed.set(pack.spec.id, pack)
  }

  const packs = new Map(shipped)
  const settled = new Set<string>()
  const resolve = (id: string, trail: readonly string[]): CompiledPack | undefined => {
    const pack = parsed.get(id)
    if (pack === undefined || settled.has(id)) return packs.get(id)
    if (trail.includes(id)) {
      const value = [...trail.slice(trail.indexOf(id)), id].join(' → ')
      problems.push({
        source: id,
        path: 'extends',
        value,
        write: 'a pack may not extend itself, directly or not',
      })
      return undefined
    }
    const parents = pack.spec.extends.map((parent) => {
      const found = resolve(parent, [...trail, id])
      if (found === undefined && !parsed.has(parent)) {
        const known = [...new Set([...parsed.keys(), ...packs.keys()])].filter((other) => other !== id)
        problems.push({
          source: id,
          path: 'extends',
          value: parent,
          write: `write one of ${known.join(', ')}`,
        })
      }
      return found
    })
    settled.add(id)
    packs.delete(id)
    const known = parents.filter((parent) => parent !== undefined)
    if (known.length < parents.length) return undefined
    const compiled = compilePack(pack, known)
    if ('id' in compiled) packs.set(id, compiled)
    else problems.push(...compiled)
    return packs.get(id)
  }
  for (const id of parsed.keys()) resolve(id, [])
  return { packs, problems }
}

/** Reads every `*.yaml` of a folder. Throws with the complete list of problems. */
export const loadPacks = async (dir: string): Promise<ReadonlyMap<string, CompiledPack>> => {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.yaml')).sort()
  const sources = await Promise.all(
    names.map(async (name) => ({ name, yaml: await readFile(join(dir, name), 'utf8') })),
  )
  const { packs, problems } = compilePacks(sources)
  if (problems.length > 0) throw new Error(`Rule packs of ${dir}:\n${problems.map(formatProblem).join('\n')}`)
  return packs
}
