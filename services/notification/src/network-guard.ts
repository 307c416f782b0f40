import { lookup } from 'node:dns/promises'
import { BlockList, isIP, type LookupFunction } from 'node:net'

export interface Address {
  readonly address: string
  /** 4 or 6 */
  readonly family: number
}

export interface NetworkGuardOptions {
  /** Networks in CIDR form that may be reached over any port and without TLS; the rest must be public. */
  readonly allowedNetworks?: readonly string[]
  /** All addresses of a host; default: as the operating system resolves it. */
  readonly resolve?: (host: string) => Promise<readonly Address[]>
}

/** The addresses that a URL stands for, each of them allowed. */
export type NetworkGuard = (url: URL) => Promise<readonly Address[]>

/** Users may not make this service connect there. Says nothing of what the name resolved to. */
export class ForbiddenDestination extends Error {}

/** IANA IPv4 Special-Purpose Address Registry (RFC 6890 and its updates), multicast and the old class E. */
const SPECIAL_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
]
/** Global unicast: all else is loopback, link-local, unique local, multicast, IPv4-mapped, NAT64 or not assigned. */
const UNICAST_V6 = ['2000::/3']
/** Parts of it that lead elsewhere, by the IANA IPv6 registry: Teredo, ORCHID, documentation, 6to4. */
const SPECIAL_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

const special = blockListOf([...SPECIAL_V4, ...SPECIAL_V6])
const unicastV6 = blockListOf(UNICAST_V6)

/**
 * Keeps whoever chooses a URL from reaching what only this machine can reach: loopback, the network around it, the
 * metadata server of a cloud. The name is resolved once, every address is checked, and the caller connects to these
 * addresses: a name that resolves differently a moment later (DNS rebinding) changes nothing. What is not known to be
 * public is refused. OWASP, "Server-Side Request Forgery Prevention Cheat Sheet", case 2.
 *
 * @throws RangeError for a network that is not in CIDR form; the guard itself throws ForbiddenDestination.
 */
export function createNetworkGuard({
  allowedNetworks = [],
  resolve = (host) => lookup(host, { all: true }),
}: NetworkGuardOptions = {}): NetworkGuard {
  const allowed = blockListOf(allowedNetworks)
  return async ({ protocol, hostname, port }) => {
    const host = hostname.replace(/^\[|\]$/g, '')
    const family = isIP(host)
    const addresses = family ? [{ address: host, family }] : await resolve(host)
    if (addresses.length === 0) throw new Error(`${host} has no address`)
    for (const { address } of addresses) {
      if (holds(allowed, address)) continue
      if (!isPublic(address)) throw new ForbiddenDestination('the address is not in a public network')
      if (protocol !== 'https:') throw new ForbiddenDestination('only https leaves the allowed networks')
      if (port !== '') throw new ForbiddenDestination('only port 443 is open outside of the allowed networks')
    }
    return addresses
  }
}

/** Makes a connection go to addresses that were checked before, whatever its host name resolves to now. */
export const pinned =
  (addresses: readonly Address[]): LookupFunction =>
  (_host, { all }, done) => {
    const [first = { address: '', family: 0 }] = addresses
    if (all) done(null, [...addresses])
    else done(null, first.address, first.family)
  }

export const isPublic = (address: string): boolean =>
  isIP(address) === 4 ? !holds(special, address) : holds(unicastV6, address) && !holds(special, address)

/** `10.0.0.0/8` in its parts; undefined for what is not a network. */
export function parseNetwork(cidr: string): { address: string; prefix: number; family: 4 | 6 } | undefined {
  const [, address = '', digits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(cidr) ?? []
  const family = isIP(address)
  const prefix = Number(digits)
  return (family === 4 && prefix <= 32) || (family === 6 && prefix <= 128)
    ? { address, prefix, family }
    : undefined
}

function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const cidr of networks) {
    const network = parseNetwork(cidr)
    if (!network) throw new RangeError(`${cidr} is not a network: write for example 10.0.0.0/8`)
    list.addSubnet(network.address, network.prefix, network.family === 4 ? 'ipv4' : 'ipv6')
  }
  return list
}

/** An address with a zone (`fe80::1%eth0`) is in no list. */
const holds = (list: BlockList, address: string): boolean =>
  isIP(address) !== 0 && !address.includes('%') && list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
