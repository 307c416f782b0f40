import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { eventually } from '@docmesh/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '../..')
const children: ChildProcess[] = []
let project: string

/** A copy of the sources with the same packages installed, in which the page can be followed. */
function copyProject(): string {
  const copy = mkdtempSync(join(tmpdir(), 'docmesh-adding-'))
  const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: root,
    encoding: 'utf8',
  })
  for (const path of tracked.split('\0').filter((path) => /^(proto|libs|services|buf)/.test(path))) {
    cpSync(join(root, path), join(copy, path), { recursive: true, force: true, errorOnExist: false })
  }
  cpSync(join(root, 'package.json'), join(copy, 'package.json'))
  mkdirSync(join(copy, 'node_modules/@docmesh'), { recursive: true })
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name !== '@docmesh') symlinkSync(join(root, 'node_modules', name), join(copy, 'node_modules', name))
  }
  for (const lib of readdirSync(join(copy, 'libs')))
    symlinkSync(join(copy, 'libs', lib), join(copy, 'node_modules/@docmesh', lib))
  // A package that others want in another version lies with its workspace.
  for (const workspace of globSync('{libs,services}/*/node_modules', { cwd: root }))
    symlinkSync(join(root, workspace), join(copy, workspace))
  return copy
}

function followPage(): string[] {
  const page = readFileSync(join(root, 'docs/adding-a-service.md'), 'utf8')
  const files = [...page.matchAll(/^```\w+ file=(\S+)\n([\s\S]*?)^```$/gm)]
  for (const [, path = '', content = ''] of files) {
    mkdirSync(dirname(join(project, path)), { recursive: true })
    writeFileSync(join(project, path), content)
  }
  return files.map(([, path = '']) => path)
}

async function start(path: string, env: Record<string, string>): Promise<string> {
  const child = fork(join(project, path), {
    cwd: project,
    env: { ...process.env, LOG_LEVEL: 'error', ...env },
  })
  children.push(child)
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${path} ended with ${code}`)
  })
  const [{ address }] = (await Promise.race([once(child, 'message'), ended])) as [{ address: string }]
  ended.catch(() => {}) // later it is asked to
  return address
}

beforeAll(() => {
  project = copyProject()
})

afterAll(async () => {
  for (const child of children.reverse()) {
    if (child.exitCode === null && child.kill()) await once(child, 'exit')
  }
  rmSync(project, { recursive: true, force: true })
})

describe('docs/adding-a-service.md', () => {
  it('makes a service that lints, compiles, joins the mesh, and answers calls by reflection', async () => {
    const bin = (name: string, ...args: string[]) =>
      execFileSync(join(root, 'node_modules/.bin', name), args, { cwd: project, encoding: 'utf8' })
    expect(followPage()).toHaveLength(5)
    bin('buf', 'lint')
    bin('node', 'libs/contracts/generate.ts')
    const registry = await start('services/registry/src/main.ts', {
      GRPC_LISTEN: '127.0.0.1:0',
      REGISTRY_TARGET: '127.0.0.1:1',
    })
    const greeting = await start('services/greeting/src/main.ts', { REGISTRY_TARGET: registry })

    const call = (address: string, method: string, data: object): unknown =>
      JSON.parse(
        bin(
          'buf',
          'curl',
          '--protocol',
          'grpc',
          '--http2-prior-knowledge',
          '--data',
          JSON.stringify(data),
          `http://${address}/${method}`,
        ),
      )
    expect(call(greeting, 'docmesh.greeting.v1.GreetingService/Greet', { name: 'Ana' })).toEqual({
      greeting: 'Hello, Ana!',
    })
    await eventually(() =>
      expect(call(registry, 'docmesh.registry.v1.RegistryService/ListServices', {})).toMatchObject({
        services: [{ service: 'greeting', instances: 1 }],
      }),
    )
    expect(() => call(greeting, 'docmesh.greeting.v1.GreetingService/Greet', {})).toThrow(/invalid_argument/)
  })
})
