import { writeFileSync } from 'node:fs'
import { codeOf, ERROR_KINDS, ERRORS, type ErrorKind, isRetryable, type Reason } from './catalogue.ts'
import { codeName } from './codes.ts'

/** Renders the catalogue as `docs/errors.md`. */
export function renderErrors(): string {
  return `# Errors

Generated from \`libs/rpc/src/catalogue.ts\` by \`node libs/rpc/src/catalogue-doc.ts\`; a test compares the two.
A call that fails answers a gRPC status whose details hold \`ErrorInfo\` with \`domain\` docmesh and one of these reasons.

## Reasons

| reason | status | kind | worth retrying | what to do |
| --- | --- | --- | --- | --- |
${(Object.keys(ERRORS) as Reason[]).map(reasonRow).join('\n')}

## Kinds

| kind | status | worth retrying | severity | alert |
| --- | --- | --- | --- | --- |
${(Object.keys(ERROR_KINDS) as ErrorKind[]).map(kindRow).join('\n')}
`
}

const yes = (value: boolean): string => (value ? 'yes' : 'no')

function reasonRow(reason: Reason): string {
  const { kind, help } = ERRORS[reason]
  return `| \`${reason}\` | ${codeName(codeOf(reason))} | ${kind} | ${yes(isRetryable(reason))} | ${help} |`
}

function kindRow(kind: ErrorKind): string {
  const { code, retryable, severity, alert } = ERROR_KINDS[kind]
  return `| ${kind} | ${codeName(code)} | ${yes(retryable)} | ${severity} | ${yes(alert)} |`
}

if (import.meta.main) {
  writeFileSync(new URL('../../../docs/errors.md', import.meta.url), renderErrors())
}
