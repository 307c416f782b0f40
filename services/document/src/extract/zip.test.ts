import { expect, test } from 'vitest'
import { zip } from '../../fixtures/zip.ts'
import { openZip, zipLimits } from './zip.ts'

async function readAll(bytes: Buffer, names: readonly string[], limits = {}): Promise<number> {
  const container = await openZip(bytes, { ...zipLimits, ...limits })
  let total = 0
  for (const name of names) for await (const chunk of container.read(name)) total += chunk.length
  return total
}

const noise = Buffer.from(Array.from({ length: 3_000 }, (_, index) => (index * index * 7919) % 251))
const bytes = zip({ a: noise, b: noise })

test('reads entries that stay within the limits', async () => {
  expect(await readAll(bytes, ['a', 'b', 'absent'])).toBe(6_000)
})

test.each([
  ['the bytes of an entry', { maxEntryBytes: 2_999 }],
  ['the bytes of all entries', { maxTotalBytes: 5_999 }],
  ['the number of entries', { maxEntries: 1 }],
  ['the ratio', { maxRatio: 0.5, ratioFromBytes: 100 }],
])('stops at a limit on %s', async (_, limits) => {
  await expect(readAll(bytes, ['a', 'b'], limits)).rejects.toMatchObject({ failure: 'inflation_limit' })
})

test('an entry that inflates to more than it declares is damaged', async () => {
  const lying = Buffer.from(bytes)
  const directory = lying.indexOf('PK\x01\x02')
  lying.writeUInt32LE(10, directory + 24)
  await expect(readAll(lying, ['a'])).rejects.toMatchObject({ failure: 'damaged' })
})

test('an encrypted entry is refused as encrypted', async () => {
  const locked = Buffer.from(bytes)
  const directory = locked.indexOf('PK\x01\x02')
  locked.writeUInt16LE(0x0801, directory + 8)
  await expect(readAll(locked, ['a'])).rejects.toMatchObject({ failure: 'encrypted' })
})

test('a name that occurs twice is damaged: readers would disagree on which counts', async () => {
  const twice = Buffer.from(zip({ aa: noise, ab: noise }))
  twice[twice.lastIndexOf('ab') + 1] = 'a'.charCodeAt(0)
  await expect(openZip(twice)).rejects.toMatchObject({ failure: 'damaged' })
})
