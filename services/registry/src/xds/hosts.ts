import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'

/** Addresses of host names: xDS clients take nothing but IP addresses. */
export interface Hosts {
  /** The IP address of a host; undefined until it is known. */
  ipOf(host: string): string | undefined
}

export interface HostsOptions {
  readonly resolve?: (host: string) => Promise<string>
  /** Hears that the address of a host has become known, or has changed. */
  readonly onChange: () => void
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

/** After this time an answer is asked for again when somebody wants it; a failed question too. */
const FRESH_MS = 30_000

/** Names that are remembered; with more, all are asked for anew. */
const MAX_HOSTS = 10_000

export function createHosts({
  resolve = byDns,
  onChange,
  now = () => performance.now(),
}: HostsOptions): Hosts {
  const known = new Map<string, { ip: string | undefined; askedAt: number }>()

  async function ask(host: string): Promise<void> {
    const before = known.get(host)?.ip
    if (known.size >= MAX_HOSTS) known.clear()
    known.set(host, { ip: before, askedAt: now() })
    const ip = await resolve(host).catch(() => before) // an address that was good stays until there is a better one
    if (ip === before) return
    known.set(host, { ip, askedAt: now() })
    onChange()
  }

  return {
    ipOf(host) {
      const literal = host.replace(/^\[(.*)\]$/, '$1')
      if (isIP(literal)) return literal
      const answer = known.get(host)
      if (!answer || now() - answer.askedAt > FRESH_MS) void ask(host)
      return answer?.ip
    },
  }
}

const byDns = async (host: string): Promise<string> => (await lookup(host, { order: 'ipv4first' })).address
