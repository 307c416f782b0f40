import { describe, expect, it } from 'vitest'
import { addresses, duration, hostAndPort, instances, pageSize } from './parse.ts'

describe('duration', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['30', 30_000],
    ['1.5s', 1_500],
    ['2m', 120_000],
  ])('reads %s as %i ms', (text, ms) => expect(duration(text)).toBe(ms))

  it.each(['', '0', '-1s', '1h', 's', 'soon', '1e3', '9'.repeat(17), '9'.repeat(400)])(
    'refuses %j',
    (text) => {
      expect(() => duration(text)).toThrow('write a time such as 30s')
    },
  )
})

describe('addresses', () => {
  it.each(['127.0.0.1:7400', 'registry:7400,registry-2:7400', '[::1]:7400', 'a:1, b:2'])(
    'takes %s',
    (text) => {
      expect(addresses(text)).toBe(text)
    },
  )

  it.each(['localhost', ':7400', 'host:', 'host:99999', 'host:1,', 'http://host:1', 'host:0'])(
    'refuses %s',
    (text) => {
      expect(() => addresses(text)).toThrow('write host:port')
    },
  )
})

it.each([
  ['127.0.0.1:7400', { host: '127.0.0.1', port: 7400 }],
  ['[::1]:7400', { host: '::1', port: 7400 }],
])('takes %s apart', (address, parts) => expect(hostAndPort(address)).toEqual(parts))

describe('instances', () => {
  it('gives one process to a service that is not named', () => {
    expect(instances('document=3, analysis=2')).toEqual({ document: 3, analysis: 2, notification: 1 })
  })

  it('can leave a service out', () => {
    expect(instances('notification=0')).toEqual({ document: 1, analysis: 1, notification: 0 })
  })

  it.each(['registry=2', 'document', 'document=', 'document=33', 'document=-1', 'toString=1', ''])(
    'refuses %j',
    (text) => expect(() => instances(text)).toThrow('document=2,analysis=2'),
  )
})

it('takes page sizes from 1 to 1000', () => {
  expect([pageSize('1'), pageSize('1000')]).toEqual([1, 1000])
  for (const text of ['0', '1001', '1.5', '', 'ten']) expect(() => pageSize(text)).toThrow('from 1 to 1000')
})
