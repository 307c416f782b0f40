// Foreign clients against real services: `npm run interop`. Needs Debian's python3-grpcio, python3-protobuf,
// protobuf-compiler and protobuf-compiler-grpc. Ends in one line of JSON.
import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startFleet } from '../e2e/fleet.ts'

const root = join(import.meta.dirname, '../..')
const run = promisify(execFile)
const PYTHON = '/usr/bin/python3'
const PROTOS = ['document/v1/document.proto', 'analysis/v1/analysis.proto'].map((path) => `docmesh/${path}`)

function missingTools(): string[] {
  const works = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0
  return [
    ...(works(PYTHON, '-c', 'import grpc') ? [] : ['python3-grpcio']),
    ...(works(PYTHON, '-c', 'import google.protobuf') ? [] : ['python3-protobuf']),
    ...(works('protoc', '--version') ? [] : ['protobuf-compiler']),
    ...(works('which', 'grpc_python_plugin') ? [] : ['protobuf-compiler-grpc']),
  ]
}

async function generate(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const { stdout } = await run('which', ['grpc_python_plugin'])
  const options = [
    `--plugin=protoc-gen-grpc=${stdout.trim()}`,
    `--python_out=${folder}`,
    `--grpc_out=${folder}`,
  ]
  await run('protoc', [`--proto_path=${join(root, 'proto')}`, ...options, ...PROTOS])
}

const missing = missingTools()
if (missing.length > 0) {
  process.stderr.write(`interop: install ${missing.join(' ')} first\n`)
  process.exit(1)
}
const folder = mkdtempSync(join(tmpdir(), 'docmesh-interop-'))
try {
  await generate(folder)
  await using fleet = await startFleet()
  const sample = join(root, 'services/document/fixtures/sample-contract.pdf')
  const { stdout, stderr } = await run(PYTHON, [
    join(import.meta.dirname, 'upload.py'),
    folder,
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
  process.stdout.write(`${JSON.stringify({ scenario: 'python', ok, findings: findings.length })}\n`)
  process.exitCode = ok ? 0 : 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
