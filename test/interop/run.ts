// Foreign clients against real services: `npm run interop`. Needs Debian's python3-grpcio, python3-protobuf,
// protobuf-compiler and protobuf-compiler-grpc; without ruby-grpc Ruby is left out, without g++ and libgrpc++-dev C++. Prints
// one line of JSON for each scenario.
import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startFleet } from '../e2e/fleet.ts'
import { type Outcome, runXds } from './xds.ts'

const root = join(import.meta.dirname, '../..')
const run = promisify(execFile)
const PYTHON = '/usr/bin/python3'
const RUBY = '/usr/bin/ruby'
const PROTOS = ['document/v1/document', 'analysis/v1/analysis', 'ops/v1/diagnostics'].map(
  (path) => `docmesh/${path}.proto`,
)

const words = (text: string): string[] => text.trim().split(/\s+/)
const works = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0

function missingTools(): string[] {
  return [
    ...(works(PYTHON, '-c', 'import grpc') ? [] : ['python3-grpcio']),
    ...(works(PYTHON, '-c', 'import google.protobuf') ? [] : ['python3-protobuf']),
    ...(works('protoc', '--version') ? [] : ['protobuf-compiler']),
    ...(works('which', 'grpc_python_plugin') ? [] : ['protobuf-compiler-grpc']),
  ]
}

async function generate(language: 'python' | 'ruby' | 'cpp', folder: string, protos = PROTOS): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const { stdout } = await run('which', [`grpc_${language}_plugin`])
  const options = [
    `--plugin=protoc-gen-grpc=${stdout.trim()}`,
    `--${language}_out=${folder}`,
    `--grpc_out=${folder}`,
  ]
  await run('protoc', [`--proto_path=${join(root, 'proto')}`, ...options, ...protos])
}

/** Compiles the C++ client with the one proto that it needs; returns the program. */
async function buildCpp(folder: string): Promise<string> {
  const [proto = '', program] = ['docmesh/ops/v1/diagnostics', join(folder, 'xds_client')]
  await generate('cpp', folder, [`${proto}.proto`])
  const { stdout } = await run('pkg-config', ['--cflags', '--libs', 'grpc++', 'protobuf'])
  const sources = [`${proto}.pb.cc`, `${proto}.grpc.pb.cc`].map((file) => join(folder, file))
  const client = join(import.meta.dirname, 'xds_client.cc')
  await run('g++', ['-std=c++17', '-O0', `-I${folder}`, client, ...sources, '-o', program, ...words(stdout)])
  return program
}

const missing = missingTools()
if (missing.length > 0) {
  process.stderr.write(`interop: install ${missing.join(' ')} first\n`)
  process.exit(1)
}
const hasRuby = works(RUBY, '-e', 'require "grpc"')
if (!hasRuby) process.stderr.write('interop: ruby-grpc is not installed, Ruby is left out\n')
const hasCpp = works('g++', '--version') && works('pkg-config', '--exists', 'grpc++', 'protobuf')
if (!hasCpp) process.stderr.write('interop: g++ or libgrpc++-dev is not installed, C++ is left out\n')

/** A PDF goes in and findings come out, dialled by address. */
async function uploadAndAnalyze(
  scenario: string,
  command: string,
  script: string,
  generated: string,
): Promise<Outcome> {
  await using fleet = await startFleet()
  const sample = join(root, 'services/document/fixtures/sample-contract.pdf')
  const { stdout, stderr } = await run(command, [
    join(import.meta.dirname, script),
    generated,
    fleet.one('document').address,
    fleet.one('analysis').address,
    sample,
  ])
  process.stdout.write(stdout)
  const [score, ...findings] = stdout.trim().split('\n')
  const ok =
    /^score \d+$/.test(score ?? '') &&
    findings.some((line) => line.startsWith('DOC-013 SEVERITY_HIGH')) &&
    stderr.includes('100 %')
  return { scenario, ok, calls: 1, failed: ok ? 0 : 1, detail: { findings: findings.length } }
}

const folder = mkdtempSync(join(tmpdir(), 'docmesh-interop-'))
const report = (outcome: Outcome): void => {
  process.stdout.write(`${JSON.stringify(outcome)}\n`)
  if (!outcome.ok) process.exitCode = 1
}
/** What one set of scenarios throws is its failure; the next one runs. */
const attempt = (scenario: string, work: Promise<void>): Promise<void> =>
  work.catch((error: unknown) =>
    report({ scenario, ok: false, calls: 0, failed: 0, detail: { error: String(error) } }),
  )
try {
  await generate('python', folder)
  await attempt('python', uploadAndAnalyze('python', PYTHON, 'upload.py', folder).then(report))
  if (hasRuby) {
    await generate('ruby', folder)
    await attempt('ruby', uploadAndAnalyze('ruby', RUBY, 'upload.rb', folder).then(report))
  }
  const runEveryXds = async (): Promise<void> => {
    const cpp = hasCpp ? await buildCpp(join(folder, 'cpp')) : undefined
    await runXds({ python: PYTHON, ruby: hasRuby ? RUBY : undefined, cpp, generated: folder }, folder, report)
  }
  await attempt('xds', runEveryXds())
} finally {
  rmSync(folder, { recursive: true, force: true })
}
