import { z } from 'zod'

/** One environment variable: the only way that docmesh reads the environment. */
export interface Variable<T> {
  readonly name: string
  readonly doc: string
  /** What counts when the variable is not set, in the form a user would write; undefined means there is none. */
  readonly fallback: string | undefined
  readonly schema: z.ZodType<T, string>
  readonly optional: boolean
}

export type EnvSchema = Readonly<Record<string, Variable<unknown>>>

export type EnvOf<S extends EnvSchema> = {
  readonly [K in keyof S]: S[K] extends Variable<infer T> ? T : never
}

interface Described {
  readonly doc: string
  readonly fallback?: string
}

const variable = <T>(
  name: string,
  schema: z.ZodType<T, string>,
  { doc, fallback }: Described,
): Variable<T> => ({
  name,
  doc,
  fallback,
  schema,
  optional: false,
})

export const text = (name: string, described: Described): Variable<string> =>
  variable(name, z.string().min(1, 'write a value'), described)

/** A whole number; the name says its unit. */
export const integer = (
  name: string,
  described: Described & { min: number; max: number },
): Variable<number> => {
  const { min, max } = described
  const message = `write a whole number from ${min} to ${max}`
  const schema = z
    .string()
    .regex(/^-?\d+$/, message)
    .transform(Number)
    .refine((value) => value >= min && value <= max, message)
  return variable(name, schema, described)
}

export const oneOf = <const V extends string>(
  name: string,
  values: readonly V[],
  described: Described,
): Variable<V> => {
  const known = (value: string): value is V => (values as readonly string[]).includes(value)
  const schema = z.string().refine(known, `write one of ${values.join(', ')}`) as unknown as z.ZodType<
    V,
    string
  >
  return variable(name, schema, described)
}

export const url = (name: string, protocols: readonly string[], described: Described): Variable<string> => {
  const message = `write a URL that begins with ${protocols.map((protocol) => `${protocol}://`).join(' or ')}`
  const fits = (value: string): boolean =>
    URL.canParse(value) && protocols.includes(new URL(value).protocol.slice(0, -1))
  return variable(name, z.string().refine(fits, message), described)
}

const ADDRESS = /^(\[[0-9a-f:]+\]|[a-z0-9._-]+):\d{1,5}$/i
const isAddress = (value: string): boolean =>
  ADDRESS.test(value) && Number(value.slice(value.lastIndexOf(':') + 1)) < 65_536

export const address = (name: string, described: Described): Variable<string> =>
  variable(name, z.string().refine(isAddress, 'write host:port, for example 127.0.0.1:7400'), described)

export const addresses = (name: string, described: Described): Variable<readonly string[]> => {
  const schema = z
    .string()
    .transform((value) => value.split(',').map((part) => part.trim()))
    .refine((parts) => parts.every(isAddress), 'write host:port, several with commas between them')
  return variable(name, schema, described)
}

/** The same variable, undefined when it is not set. */
export const optional = <T>(required: Variable<T>): Variable<T | undefined> => ({
  ...required,
  optional: true,
})

/** Every fault of an environment at once, each with what to write instead. */
export class EnvError extends Error {
  override readonly name = 'EnvError'
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(
      `The environment has ${faults.length === 1 ? 'a fault' : 'faults'}:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    )
    this.faults = faults
  }
}

/** @throws EnvError that lists every variable that is missing or does not parse. Values are not repeated: one may be secret. */
export function parseEnv<S extends EnvSchema>(
  schema: S,
  source: Readonly<Record<string, string | undefined>>,
): EnvOf<S> {
  const faults: string[] = []
  const values = Object.entries(schema).map(([key, variable]) => {
    const raw = source[variable.name] || variable.fallback
    if (raw === undefined) {
      if (!variable.optional) faults.push(`${variable.name} is not set: ${variable.doc}`)
      return [key, undefined]
    }
    const parsed = variable.schema.safeParse(raw)
    if (!parsed.success) faults.push(`${variable.name}: ${parsed.error.issues[0]?.message}`)
    return [key, parsed.data]
  })
  if (faults.length > 0) throw new EnvError(faults)
  return Object.fromEntries(values) as EnvOf<S>
}
