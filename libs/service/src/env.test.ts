import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { baseEnv } from './base-env.ts'
import {
  address,
  addresses,
  EnvError,
  type EnvSchema,
  integer,
  oneOf,
  optional,
  parseEnv,
  text,
  url,
} from './env.ts'

const doc = 'What it is for.'

const faultsOf = (schema: EnvSchema, source: Record<string, string | undefined>): readonly string[] => {
  try {
    parseEnv(schema, source)
    return []
  } catch (error) {
    if (error instanceof EnvError) return error.faults
    throw error
  }
}

describe('parseEnv', () => {
  const schema = {
    name: text('NAME', { doc }),
    port: integer('PORT', { min: 1, max: 10, doc, fallback: '7' }),
    mode: oneOf('MODE', ['fast', 'safe'], { doc }),
    target: addresses('TARGET', { doc }),
    zone: optional(text('ZONE', { doc })),
    database: optional(url('DATABASE_URL', ['postgres', 'postgresql'], { doc })),
  } as const
  const good = { NAME: 'n', MODE: 'safe', TARGET: 'a:1, [::1]:2' }

  it('gives values of their types, fallbacks for what is not set, undefined for what may be left out', () => {
    expect(parseEnv(schema, good)).toEqual({
      name: 'n',
      port: 7,
      mode: 'safe',
      target: ['a:1', '[::1]:2'],
      zone: undefined,
      database: undefined,
    })
  })

  it('takes an empty value for one that is not set', () => {
    expect(parseEnv(schema, { ...good, PORT: '', ZONE: '' })).toMatchObject({ port: 7, zone: undefined })
    expect(faultsOf(schema, { ...good, NAME: '' })).toEqual([`NAME is not set: ${doc}`])
  })

  it('lists every fault at once, each with what to write instead', () => {
    const bad = { PORT: '11', MODE: 'slow', TARGET: 'a:1,b', ZONE: 'z', DATABASE_URL: 'mysql://x' }
    expect(faultsOf(schema, bad)).toEqual([
      `NAME is not set: ${doc}`,
      'PORT: write a whole number from 1 to 10',
      'MODE: write one of fast, safe',
      'TARGET: write host:port, several with commas between them',
      'DATABASE_URL: write a URL that begins with postgres:// or postgresql://',
    ])
  })

  it('never repeats a value: it may be a secret', () => {
    const secret = fc.string({ minLength: 6, maxLength: 30, unit: fc.constantFrom(...'#QZXJ%&') })
    fc.assert(
      fc.property(secret, (value) => {
        const names = Object.values(schema).map((variable) => variable.name)
        const source = Object.fromEntries(
          names.filter((name) => name !== 'NAME' && name !== 'ZONE').map((name) => [name, value]),
        )
        const faults = faultsOf(schema, source)
        expect(faults).toHaveLength(5)
        expect(new EnvError(faults).message).not.toContain(value)
      }),
    )
  })

  it('needs nothing to be set for what every service reads', () => {
    expect(parseEnv(baseEnv, {})).toMatchObject({ grpcListen: '127.0.0.1:0', shutdownGraceMs: 30_000 })
  })
})

describe('a variable', () => {
  it.each(['1.5', 'ten', '0x5', '1e1', ' 5', '-1'])('that is a whole number from 0 refuses %j', (value) => {
    expect(faultsOf({ n: integer('N', { min: 0, max: 10, doc }) }, { N: value })).toHaveLength(1)
  })

  it.each(['localhost:7400', '127.0.0.1:0', '[::1]:65535', 'a-b.c_d:1'])(
    'that is an address takes %j',
    (value) => {
      expect(parseEnv({ a: address('A', { doc }) }, { A: value })).toEqual({ a: value })
    },
  )

  it.each(['localhost', ':1', 'h:', 'h:65536', 'h:123456', 'http://h:1', '::1:1', 'h:1,i:2', 'h :1'])(
    'that is an address refuses %j',
    (value) => {
      expect(faultsOf({ a: address('A', { doc }) }, { A: value })).toHaveLength(1)
    },
  )
})
