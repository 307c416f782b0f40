import { describe, expect, it } from 'vitest'
import type { MeshState } from './data-dir.ts'
import { EXIT } from './exit-codes.ts'
import { CliError } from './failure.ts'
import type { LocalMeshOptions } from './local-mesh.ts'
import type { ConnectOptions } from './mesh-session.ts'
import { docmesh, testIo } from './testing.fixture.ts'
import { VERSION } from './version.ts'

describe('docmesh', () => {
  it('explains itself with every exit code on stdout', async () => {
    const { exitCode, out, err } = await docmesh(['--help'])
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: '' })
    for (const code of Object.values(EXIT)) expect(out).toMatch(new RegExp(`^ {2}${code} +\\S`, 'm'))
  })

  it.each([
    'start',
    'up',
    'analyze',
    'analyses',
    'batch',
    'batches',
    'documents',
    'events',
    'jobs',
    'recoveries',
    'services',
    'status',
    'notifications',
    'mesh',
    'xds-bootstrap',
    'completion',
  ])('has examples in the help of %s', async (command) => {
    const { exitCode, out } = await docmesh([command, '--help'])
    expect(exitCode).toBe(0)
    expect(out).toMatch(new RegExp(`Examples:\n(.*\n)*.*docmesh ${command}`))
  })

  it('prints its version', async () => {
    expect(await docmesh(['--version'])).toEqual({ exitCode: 0, out: `${VERSION}\n`, err: '' })
  })

  it.each([
    [['analyze'], "missing required argument 'files'"],
    [['analyze', 'a', '--format', 'pdf'], 'Allowed choices are text, json, sarif, html, markdown'],
    [['analyze', 'a', '--fail-under', '101'], 'a whole number from 0 to 100'],
    [['analyze', '-', '-'], 'standard input can be read once'],
    [['analyse', 'a'], "unknown command 'analyse' (Did you mean one of analyses, analyze?)"],
    [['status', '--colour'], "unknown option '--colour'"],
    [['--registry', 'nowhere', 'status'], 'write host:port'],
    [['--timeout', 'soon', 'status'], 'write a time such as 30s'],
    [['up', '--instances', 'registry=3'], 'document=2,analysis=2'],
    [['completion', 'tcsh'], 'Allowed choices are bash, zsh, fish'],
  ])('ends %j with 2 and one line that says what to write', async (args, what) => {
    const { exitCode, out, err } = await docmesh(args)
    expect({ exitCode, out }).toEqual({ exitCode: 2, out: '' })
    expect(err).toMatch(/^docmesh: [^\n]+\([^\n]+\)\n$/)
    expect(err).toContain(what)
  })

  it('shows where an error comes from with --verbose alone', async () => {
    const connect = () => Promise.reject(new Error('boom', { cause: new Error('the spark') }))
    const quiet = await docmesh(['status'], { connect })
    const verbose = await docmesh(['status', '--verbose'], { connect })
    expect(quiet).toEqual({
      exitCode: 5,
      out: '',
      err: 'docmesh: boom (--verbose shows where it comes from)\n',
    })
    expect(verbose.err).toMatch(/\n {4}at .*program\.test\.ts/)
    expect(verbose.err).toContain('caused by Error: the spark')
  })
})

describe('the registry', () => {
  const targets = async (args: readonly string[], env: Record<string, string> = {}) => {
    let seen: readonly string[] = []
    const connect = ({ targets }: ConnectOptions) => {
      seen = targets
      return Promise.reject(new CliError(EXIT.unreachable, 'not there', 'go away'))
    }
    const { exitCode } = await docmesh(['status', ...args], { connect, io: testIo({ env }) })
    expect(exitCode).toBe(4)
    return seen
  }

  it('is that of --registry, else of REGISTRY_TARGET, else 127.0.0.1:7400', async () => {
    const env = { REGISTRY_TARGET: 'a:1,b:2' }
    expect(await targets(['--registry', 'x:9'], env)).toEqual(['x:9'])
    expect(await targets([], env)).toEqual(['a:1', 'b:2'])
    expect(await targets([])).toEqual(['127.0.0.1:7400'])
  })
})

describe('a local mesh', () => {
  const holder: MeshState = {
    pid: 42,
    birth: '',
    registry: '127.0.0.1:7400',
    startedAt: '',
    open: true,
  }

  it('starts with two document and two analysis processes on 127.0.0.1:7400', async () => {
    const seen: LocalMeshOptions[] = []
    const startMesh = async (options: LocalMeshOptions) => {
      seen.push(options)
      return { kind: 'held', holder } as const
    }
    await docmesh(['up', '--data-dir', '/srv/mesh'], { startMesh })
    expect(seen[0]).toMatchObject({
      dataDir: '/srv/mesh',
      registry: '127.0.0.1:7400',
      shared: true,
      instances: { document: 2, analysis: 2, notification: 1 },
    })
  })

  it('is refused where another one runs, with who it is', async () => {
    const { exitCode, err } = await docmesh(['up'], { startMesh: async () => ({ kind: 'held', holder }) })
    expect(exitCode).toBe(2)
    expect(err).toContain('process 42, registry 127.0.0.1:7400')
  })

  it('is not what start --once does without a name, as of an unset variable', async () => {
    const seen: LocalMeshOptions[] = []
    const startMesh = async (options: LocalMeshOptions) => {
      seen.push(options)
      throw new Error('enough')
    }
    await docmesh(['start', '--once', ''], { startMesh })
    expect(seen.map(({ shared }) => shared)).toEqual([false])
  })

  it('is stopped by Ctrl-C, which is no failure', async () => {
    const io = testIo()
    let stopped = false
    const mesh = {
      registry: '127.0.0.1:7400',
      gaveUp: new Promise<never>(() => {}),
      processes: () => [],
      stop: async () => {
        stopped = true
      },
    }
    const running = docmesh(['up'], { io, startMesh: async () => ({ kind: 'started', mesh }) })
    io.interrupt()
    expect(await running).toMatchObject({ exitCode: 0, out: '' })
    expect(stopped).toBe(true)
  })

  it('ends with 130 when Ctrl-C comes while it starts', async () => {
    const io = testIo()
    const running = docmesh(['up'], {
      io,
      startMesh: async (_, { signal }) => {
        io.interrupt()
        throw signal.reason
      },
    })
    expect(await running).toMatchObject({ exitCode: 130 })
  })

  it('ends with 5 and the reason when a service gives up', async () => {
    const spec = {
      name: 'analysis-1',
      service: 'analysis',
      script: '',
      execArgv: [],
      env: {},
      logFile: '/a.log',
    }
    const gone = {
      spec,
      state: () => ({ kind: 'failed', why: 'SMTP_URL is wrong' }) as const,
      ready: new Promise<never>(() => {}),
      stop: async () => {},
      kill: () => {},
    }
    const mesh = {
      registry: '127.0.0.1:7400',
      gaveUp: Promise.resolve(gone),
      processes: () => [gone],
      stop: async () => {},
    }
    const { exitCode, err } = await docmesh(['up'], { startMesh: async () => ({ kind: 'started', mesh }) })
    expect(exitCode).toBe(5)
    expect(err).toContain('docmesh: analysis-1 cannot go on: SMTP_URL is wrong (its log is /a.log)')
  })
})
