// Writes docs/environment.md from the schemas that the services parse: `node test/contract/environment-doc.ts`.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { baseEnv } from '../../libs/service/src/base-env.ts'
import type { EnvSchema } from '../../libs/service/src/env.ts'
import { env as analysis } from '../../services/analysis/src/env.ts'
import { env as document } from '../../services/document/src/env.ts'
import { env as notification } from '../../services/notification/src/env.ts'
import { env as registry } from '../../services/registry/src/env.ts'

const SERVICES: Readonly<Record<string, EnvSchema>> = { registry, document, analysis, notification }

export const environmentDocPath = join(import.meta.dirname, '../../docs/environment.md')

const table = (schema: EnvSchema): string =>
  [
    '| variable | default | meaning |',
    '| --- | --- | --- |',
    ...Object.values(schema).map(({ name, fallback, optional, doc }) => {
      const value = fallback === undefined ? (optional ? '–' : '**required**') : `\`${fallback}\``
      return `| \`${name}\` | ${value} | ${doc} |`
    }),
  ].join('\n')

export function renderEnvironmentDoc(): string {
  const own = Object.entries(SERVICES).map(([service, schema]) => `## ${service}\n\n${table(schema)}`)
  return `# Environment

Generated from the schemas in \`services/*/src/env.ts\`. A value that does not parse stops the start with one complete list
and exit code 78. \`OTEL_*\` variables mean what OpenTelemetry says; tracing is off until one of them asks for it.

## Every service

${table(baseEnv)}

${own.join('\n\n')}
`
}

if (import.meta.main) writeFileSync(environmentDocPath, renderEnvironmentDoc())
