import { InvalidArgumentError } from 'commander'

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m)?$/
const UNIT_MS = { ms: 1, s: 1_000, m: 60_000 } as const

/** What a duration of proto3 can say, 10,000 years. */
const MAX_DURATION_MS = 315_576_000_000_000

/** `500ms`, `30s`, `2m`; a bare number counts seconds. Returns milliseconds. */
export function duration(text: string): number {
  const [, value, unit = 's'] = DURATION.exec(text) ?? []
  const ms = Number(value) * UNIT_MS[unit as keyof typeof UNIT_MS]
  if (!(ms > 0 && ms <= MAX_DURATION_MS))
    throw new InvalidArgumentError('write a time such as 30s, 500ms or 2m')
  return ms
}

export const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`write a whole number from ${min} to ${max}`)
    return value
  }

export const pageSize = wholeNumber(1, 1_000)

export function addresses(text: string): string {
  const fits = text.split(',').every((part) => {
    const [, port] = /^\s*(?:\[[0-9a-f:]+\]|[\w.-]+):(\d{1,5})\s*$/i.exec(part) ?? []
    return Number(port) > 0 && Number(port) < 65_536
  })
  if (!fits) throw new InvalidArgumentError('write host:port, for example 127.0.0.1:7400')
  return text
}

/** The parts of `host:port`, without the brackets of an IPv6 address. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  return { host, port: Number(address.slice(colon + 1)) }
}

export const collect = (text: string, earlier: readonly string[] = []): string[] => [...earlier, text]

const SCALABLE = ['document', 'analysis', 'notification'] as const
type Instances = Record<(typeof SCALABLE)[number], number>

/** `document=2,analysis=4`; a service that is not named gets one process. */
export function instances(text: string): Instances {
  const counts: Instances = { document: 1, analysis: 1, notification: 1 }
  for (const part of text.split(',')) {
    const [, service = '', count = ''] = /^\s*([a-z]+)=(\d{1,2})\s*$/.exec(part) ?? []
    if (!SCALABLE.includes(service as keyof Instances) || count === '' || Number(count) > 32) {
      throw new InvalidArgumentError(
        `write for example document=2,analysis=2; ${SCALABLE.join(', ')} take up to 32 processes`,
      )
    }
    counts[service as keyof Instances] = Number(count)
  }
  return counts
}
