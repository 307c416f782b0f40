import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createNetworkGuard, ForbiddenDestination, isPublic, parseNetwork, pinned } from './network-guard.ts'

const resolvingTo = (...addresses: string[]) => ({
  resolve: async () => addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
})
const guardOf = (...addresses: string[]) => createNetworkGuard(resolvingTo(...addresses))
const HOOK = new URL('https://hooks.example.com/x')
const PUBLIC_V4 = '93.184.215.14'
const PUBLIC_V6 = '2606:2800:21f:cb07:6820:80da:af6b:8b2c'

const NOT_PUBLIC = [
  '0.0.0.0',
  '0.1.2.3',
  '10.0.0.1',
  '100.64.0.1',
  '100.127.255.255',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.8',
  '192.0.2.1',
  '192.88.99.1',
  '192.168.1.1',
  '198.18.0.1',
  '198.19.255.255',
  '198.51.100.7',
  '203.0.113.7',
  '224.0.0.1',
  '239.255.255.250',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:169.254.169.254',
  '::ffff:a9fe:a9fe',
  '::ffff:8.8.8.8',
  '::127.0.0.1',
  '64:ff9b::a9fe:a9fe',
  '64:ff9b::8.8.8.8',
  '64:ff9b:1::1',
  '100::1',
  '2001::1',
  '2001:0:4136:e378:8000:63bf:3fff:fdd2',
  '2001:10::1',
  '2001:db8::1',
  '2002:7f00:1::',
  '2002:a9fe:a9fe::1',
  '3fff::1',
  '5f00::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'fe80::1%eth0',
  'fec0::1',
  'ff02::1',
  '',
  'localhost',
  '2130706433',
]
const PUBLIC = [
  PUBLIC_V4,
  PUBLIC_V6,
  '1.1.1.1',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '169.253.255.255',
  '172.15.255.255',
  '172.32.0.0',
  '192.0.1.0',
  '192.167.255.255',
  '198.17.255.255',
  '223.255.255.255',
  '2001:200::1',
  '2606:4700:4700::1111',
]

describe('an address', () => {
  it.each(NOT_PUBLIC)('%s is not public', (address) => expect(isPublic(address)).toBe(false))
  it.each(PUBLIC)('%s is public', (address) => expect(isPublic(address)).toBe(true))

  it('is never public when it carries an IPv4 address inside', () => {
    const hex = (high: number, low: number) => ((high << 8) | low).toString(16)
    fc.assert(
      fc.property(fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)), ([a, b, c, d]) => {
        const tail = `${hex(a, b)}:${hex(c, d)}`
        for (const carrier of [`::${tail}`, `::ffff:${tail}`, `64:ff9b::${tail}`, `2002:${tail}::1`])
          expect(isPublic(carrier)).toBe(false)
      }),
    )
  })
})

describe('a destination', () => {
  it('is what its name resolves to, all of it', async () => {
    expect(await guardOf(PUBLIC_V4, PUBLIC_V6)(HOOK)).toEqual([
      { address: PUBLIC_V4, family: 4 },
      { address: PUBLIC_V6, family: 6 },
    ])
  })

  it.each(NOT_PUBLIC)('is refused when one of its addresses is %s', async (address) => {
    await expect(guardOf(PUBLIC_V4, address)(HOOK)).rejects.toThrow(ForbiddenDestination)
    await expect(guardOf(address, PUBLIC_V4)(HOOK)).rejects.toThrow(ForbiddenDestination)
  })

  it.each([
    'https://127.0.0.1/',
    'https://127.1/',
    'https://0x7f000001/',
    'https://2130706433/',
    'https://0177.0.0.1/',
    'https://0/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[fe80::1]/',
    'https://169.254.169.254/latest/meta-data/',
  ])('is refused however the address is written: %s', async (url) => {
    const guard = createNetworkGuard({ resolve: () => Promise.reject(new Error('resolved')) })
    await expect(guard(new URL(url))).rejects.toThrow(ForbiddenDestination)
  })

  it('in public is spoken to over TLS and its port only', async () => {
    const guard = guardOf(PUBLIC_V4)
    for (const url of ['http://a.example/', 'https://a.example:8443/', 'https://a.example:22/'])
      await expect(guard(new URL(url))).rejects.toThrow(ForbiddenDestination)
    expect(await guard(new URL('https://a.example:443/'))).toHaveLength(1)
  })

  it('in an allowed network may have any port and no TLS, but nothing beside it in another one', async () => {
    const allowedNetworks = ['127.0.0.0/8', 'fd00::/8']
    const guard = (...addresses: string[]) =>
      createNetworkGuard({ allowedNetworks, ...resolvingTo(...addresses) })(new URL('http://intra:8080/'))
    expect(await guard('127.0.0.1', 'fd12::1')).toHaveLength(2)
    await expect(guard('127.0.0.1', '10.0.0.1')).rejects.toThrow(ForbiddenDestination)
    await expect(guard('127.0.0.1', PUBLIC_V4)).rejects.toThrow('only https')
  })

  it('without an address is an error that may pass', async () => {
    const failed = await guardOf()(HOOK).catch((error: unknown) => error)
    expect(failed).not.toBeInstanceOf(ForbiddenDestination)
    expect(failed).toMatchObject({ message: 'hooks.example.com has no address' })
  })

  it('does not say where the name led', async () => {
    await expect(guardOf('10.20.30.40')(HOOK)).rejects.toThrow(/^the address is not in a public network$/)
  })
})

it('pins a connection to the addresses that were checked', () => {
  const addresses = [
    { address: PUBLIC_V4, family: 4 },
    { address: PUBLIC_V6, family: 6 },
  ]
  const answers: unknown[] = []
  pinned(addresses)('rebound.example', { all: true }, (...answer) => answers.push(answer))
  pinned(addresses)('rebound.example', {}, (...answer) => answers.push(answer))
  expect(answers).toEqual([
    [null, addresses],
    [null, PUBLIC_V4, 4],
  ])
})

it('reads networks in CIDR form and nothing else', () => {
  expect(parseNetwork('10.0.0.0/8')).toEqual({ address: '10.0.0.0', prefix: 8, family: 4 })
  expect(parseNetwork('fd00::/8')).toEqual({ address: 'fd00::', prefix: 8, family: 6 })
  for (const bad of ['10.0.0.0', '10.0.0.0/33', '10.0.0/8', 'fd00::/129', '/8', 'a/8', '10.0.0.0/8 ', ''])
    expect(parseNetwork(bad)).toBeUndefined()
  expect(() => createNetworkGuard({ allowedNetworks: ['10.0.0.1'] })).toThrow(RangeError)
})
