import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'

/** Addresses of host names: xDS clients take nothing but IP addresses. */
export interface Hosts {
  /** The IP address of a host; undefined until it is known. */
  ipOf(host: string): string | undefined
}

export interface HostsOptions {
  readonly resolve?: (host: string) => Promise<string>
  /** Hears that an address has become known or has changed, or that it is time to want the addresses again. */
  readonly onChange: () => void
  /**
   * Milliseconds after which an answer, or that there was none, is asked for again when somebody wants it; default 30,000.
   */
  readonly freshMs?: number
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

/** Names that are remembered; with more, all are asked for anew. */
const MAX_HOSTS = 10_000

export function createHosts({
  resolve = byDns,
  onChange,
  freshMs = 30_000,
  now = () => performance.now(),
}: HostsOptions): Hosts {
  const known = new Map<string, { ip: string | undefined; askedAt: number }>()
  let reminder: NodeJS.Timeout | undefined

  /** A mesh in which nothing changes would never ask again. */
  function remind(): void {
    if (reminder) return
    reminder = setTimeout(() => {
      reminder = undefined
      onChange()
    }, freshMs).unref()
  }

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
      remind()
      const answer = known.get(host)
      if (!answer || now() - answer.askedAt > freshMs) void ask(host)
      return answer?.ip
    },
  }
}

const byDns = async (host: string): Promise<string> => (await lookup(host, { order: 'ipv4first' })).address
