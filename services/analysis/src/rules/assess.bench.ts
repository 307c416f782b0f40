import { readFile } from 'node:fs/promises'
import { stringify } from 'yaml'
import { assess } from './assess.ts'
import { compilePacks } from './pack.ts'
import { sampleDocument } from './sample-text.ts'

const WORDS =
  'o contrato de prestação serviços será pago em parcelas conforme a cláusula deste instrumento pela parte que assume as obrigações não cumpridas no prazo legal com multa juros e correção'.split(
    ' ',
  )
const CLAUSE_EVERY = 80
const RUNS = 15

let seed = 42
const random = (below: number): number => {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
  return seed % below
}
const word = (): string => WORDS[random(WORDS.length)] ?? ''
const sentence = (): string =>
  `${Array.from({ length: 8 + random(14) }, word).join(' ')} em ${1 + random(28)}/0${1 + random(9)}/2026 por R$ ${random(900) + 100},00.`

const paragraphs: string[] = []
for (let size = 0, index = 0; size < 1_000_000; index++) {
  const text = index % CLAUSE_EVERY === 0 ? `## Cláusula ${index} - Do ${word()} ${word()}` : sentence()
  paragraphs.push(text)
  size += text.length + 2
}
const document = sampleDocument(paragraphs.join('\n\n'))

const test = (text: string, severities: readonly string[]) => ({
  name: text,
  text,
  expect: severities.map((severity) => ({ severity })),
})
const shared = {
  severity: 'low',
  category: 'bench',
  title: 'Rule',
  message: 'Found',
  remediation: 'Change it',
}
const made = (index: number) => {
  const a = `expressão ${index}`
  const b = `termo ${WORDS[index % WORDS.length]} ${index}`
  const id = `BEN-${index}`
  const tests = [test('a', ['low']), test('b', [])]
  if (index % 4 === 0) return { id, kind: 'required-section', ...shared, section: { anyOf: [a, b] }, tests }
  if (index % 4 === 1) return { id, kind: 'required-term', ...shared, required: { groups: [[a, b]] }, tests }
  if (index % 20 === 2)
    return { id, kind: 'regex', ...shared, regex: { pattern: `ref${index}-\\d{4}` }, tests }
  return { id, kind: 'forbidden-term', ...shared, forbidden: { anyOf: [a, b, `${word()}*${index}`] }, tests }
}

const folder = new URL('../../packs/', import.meta.url)
const shipped = await Promise.all(
  ['core.document', 'core.contract'].map(async (name) => ({
    name,
    yaml: await readFile(new URL(`${name}.yaml`, folder), 'utf8'),
  })),
)
const RULES = 200
const own = compilePacks(shipped).packs.get('core.contract')?.rules.length ?? 0
const bench = {
  apiVersion: 'docmesh.dev/rules/v1',
  id: 'bench.rules',
  version: '1.0.0',
  title: 'Bench',
  extends: ['core.contract'],
  rules: Array.from({ length: RULES - own }, (_, index) => made(index)),
}
const { packs, problems } = compilePacks([...shipped, { name: 'bench', yaml: stringify(bench) }])
const pack = packs.get('bench.rules')
if (pack === undefined) throw new Error(JSON.stringify(problems))

const times: number[] = []
let findings = 0
for (let run = 0; run < RUNS; run++) {
  const started = performance.now()
  const assessment = await assess([pack], document, { locale: 'en', today: '2026-08-01' })
  times.push(performance.now() - started)
  findings = assessment.findings.length
}
const [first = 0, ...later] = times
const median = later.toSorted((a, b) => a - b)[later.length >> 1] ?? 0
process.stdout.write(
  `${JSON.stringify({
    bench: 'rules',
    rules: pack.rules.length,
    terms: pack.terms.names.length,
    characters: document.text.length,
    findings,
    firstMs: Math.round(first),
    minMs: Math.round(Math.min(...times)),
    medianMs: Math.round(median),
  })}\n`,
)
