import { describe, expect, it } from 'vitest'
import { compilePacks } from './pack.ts'
import { formatProblem } from './pack-source.ts'

const rule = (extra = '', id = 'TST-001') => `
  - id: ${id}
    kind: forbidden-term
    severity: low
    category: test
    title: Palavra
    message: "Achado: {found}"
    remediation: Troque.
    forbidden: {anyOf: [banana]}
    tests:
      - {name: a, text: banana, expect: [{severity: low}]}
      - {name: b, text: uva, expect: []}${extra}`
const pack = (id: string, { head = '', rules = rule() } = {}) => ({
  name: `${id}.yaml`,
  yaml: `apiVersion: docmesh.dev/rules/v1\nid: ${id}\nversion: 1.0.0\ntitle: Teste\n${head}rules:${rules}\n`,
})
const problemsOf = (...sources: Parameters<typeof compilePacks>[0]) => compilePacks(sources).problems

describe('a pack with problems', () => {
  it('is told the line, path, value, rule and what to write', () => {
    const [problem, ...others] = problemsOf(
      pack('my.pack', { rules: rule().replace('severity: low\n', 'severity: grave\n') }),
    )
    expect(others).toEqual([])
    expect(problem).toEqual({
      source: 'my.pack.yaml',
      line: 8,
      path: 'rules[0].severity',
      value: '"grave"',
      rule: 'TST-001',
      write: 'write one of critical, high, medium, low',
    })
    expect(problem && formatProblem(problem)).toBe(
      'my.pack.yaml:8: rule TST-001: rules[0].severity is "grave": write one of critical, high, medium, low',
    )
  })

  it.each(['occurrence', 'table-total', 'law-reference', 'ai'])('may not use the kind %s', (kind) => {
    const [problem] = problemsOf(pack('my.pack', { rules: rule().replace('forbidden-term', kind) }))
    expect(problem).toMatchObject({ path: 'rules[0].kind', value: `"${kind}"` })
    expect(problem?.write).toMatch(/^write one of the kinds cross-field, date, /)
  })

  it('is told about settings that do not exist', () => {
    const [problem] = problemsOf(pack('my.pack', { rules: rule('\n    colour: red') }))
    expect(problem?.write).toBe('remove colour: no such setting here')
  })

  it('is told that a rule needs a test each way', () => {
    const [problem] = problemsOf(pack('my.pack', { rules: rule().replace(/\n.*name: b.*/, '') }))
    expect(problem).toMatchObject({ path: 'rules[0].tests', rule: 'TST-001' })
    expect(problem?.write).toBe('write at least one test that finds something and one that finds nothing')
  })

  it('is told about words that its messages cannot have', () => {
    const [problem] = problemsOf(pack('my.pack', { rules: rule().replace('{found}', '{colour}') }))
    expect(problem).toMatchObject({
      path: 'rules[0].message',
      write: 'a message of this kind may use {found}',
    })
  })

  it('is told about patterns that RE2 does not take', () => {
    const regex = rule()
      .replace('forbidden-term', 'regex')
      .replace('forbidden: {anyOf: [banana]}', 'regex: {pattern: "(a)\\\\1"}')
    expect(problemsOf(pack('my.pack', { rules: regex }))[0]?.write).toMatch(/^write an RE2 pattern/)
  })

  it('is told about fields it does not have', () => {
    const field = rule()
      .replace('forbidden-term', 'field-present')
      .replace('{found}', '{count}')
      .replace('forbidden: {anyOf: [banana]}', 'field: {anyOf: [price]}')
    expect(problemsOf(pack('my.pack', { rules: field }))).toMatchObject([{ value: 'price', rule: 'TST-001' }])
  })

  it('is told about ids used twice', () => {
    expect(problemsOf(pack('my.pack', { rules: rule() + rule() }))).toMatchObject([{ path: 'rules[1].id' }])
  })

  it('is told about YAML that does not parse', () => {
    expect(problemsOf({ name: 'x.yaml', yaml: 'id: [a' })[0]).toMatchObject({ source: 'x.yaml', line: 1 })
  })

  it.each(['id: &a [*a]', 'id: &a [1]\nrules: [*a, *a]'])('may not use the alias in %j', (yaml) => {
    const write = 'write values out in full: aliases (*name) are refused'
    expect(problemsOf({ name: 'x.yaml', yaml })).toEqual([{ source: 'x.yaml', path: '', write }])
  })

  it.each(['', '[]', 'text', '42'])('may not be %j', (yaml) => {
    expect(problemsOf({ name: 'x.yaml', yaml }).map(({ path }) => path)).toContain('id')
  })

  it('does not stop the others from being compiled', () => {
    const { packs } = compilePacks([{ name: 'x.yaml', yaml: 'id: x' }, pack('my.pack')])
    expect([...packs.keys()]).toEqual(['my.pack'])
  })
})

describe('extends', () => {
  it('puts inherited rules first and lets a rule take the place of one with its id', () => {
    const base = pack('my.base', { rules: rule() + rule('', 'TST-002') })
    const child = pack('my.child', { head: 'extends: [my.base]\n', rules: rule('', 'TST-003') + rule() })
    const { packs, problems } = compilePacks([child, base])
    expect(problems).toEqual([])
    const rules = packs.get('my.child')?.rules.map(({ id, packId }) => `${packId}/${id}`)
    expect(rules).toEqual(['my.child/TST-001', 'my.base/TST-002', 'my.child/TST-003'])
  })

  it('refuses a circle', () => {
    const a = pack('my.a', { head: 'extends: [my.b]\n' })
    const b = pack('my.b', { head: 'extends: [my.a]\n' })
    const { packs, problems } = compilePacks([a, b])
    expect(problems).toMatchObject([{ path: 'extends', value: 'my.a → my.b → my.a' }])
    expect(packs.size).toBe(0)
  })

  it('names the packs there are when one is unknown', () => {
    const problems = problemsOf(pack('my.a', { head: 'extends: [my.b]\n' }), pack('my.c'))
    expect(problems).toMatchObject([{ value: 'my.b', write: 'write one of my.c' }])
  })

  it('takes shipped packs as parents', () => {
    const { packs: shipped } = compilePacks([pack('my.base')])
    const { packs, problems } = compilePacks([pack('my.child', { head: 'extends: [my.base]\n' })], shipped)
    expect(problems).toEqual([])
    expect([...packs.keys()]).toEqual(['my.base', 'my.child'])
  })
})

describe('hash', () => {
  const hashOf = (...sources: Parameters<typeof compilePacks>[0]) =>
    [...compilePacks(sources).packs.values()].at(-1)?.hash

  it('ignores comments and layout but not content', () => {
    const { name, yaml } = pack('my.pack')
    expect(hashOf({ name, yaml: `# note\n${yaml}\n\n` })).toBe(hashOf({ name, yaml }))
    expect(hashOf({ name, yaml: yaml.replace('banana', 'laranja') })).not.toBe(hashOf({ name, yaml }))
  })

  it('changes when a parent changes', () => {
    const base = pack('my.base')
    const child = pack('my.child', { head: 'extends: [my.base]\n' })
    const other = { ...base, yaml: base.yaml.replace('Troque', 'Mude') }
    expect(hashOf(base, child)).not.toBe(hashOf(other, child))
  })
})

it('puts variables in place with their type, except in tests', () => {
  const head = 'vars: {word: banana, times: 2}\n'
  const use = (name: string) => `$\{${name}}`
  const rules = rule(`\n    score: {maxCount: "${use('times')}"}`).replace(
    '[banana]',
    `["${use('word')} madura"]`,
  )
  const compiled = compilePacks([pack('my.pack', { head, rules })])
  const [only] = compiled.packs.get('my.pack')?.rules ?? []
  expect(compiled.problems).toEqual([])
  expect(only).toMatchObject({ maxCount: 2, terms: ['banana madura'] })
})
