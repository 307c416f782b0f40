import { expect, it, vi } from 'vitest'
import type { Analysis } from './analysis.ts'
import type { Documents, SourceText } from './documents.ts'
import { createTexts } from './texts.ts'

const KEEP_MS = 1_000

function library(...texts: string[]) {
  const asked: string[] = []
  const documents: Documents = {
    head: () => Promise.reject(new Error('nobody asks for it')),
    async text(id, version, { tenantId }) {
      asked.push(`${tenantId} ${id}@${version}`)
      const text = texts.shift()
      if (text === undefined) throw new Error('away')
      return { textSha256: text } as SourceText
    },
  }
  return { asked, texts: createTexts(documents, { keepMs: KEEP_MS }) }
}

const analysis = (id: string, textSha256?: string) =>
  ({ id, documentId: 'd', documentVersion: 2, tenantId: 't', textSha256 }) as Analysis
const { signal } = new AbortController()

it('asks for a text once, and again after it was told to forget it', async () => {
  const { asked, texts } = library('one', 'one')
  expect(await texts.read(analysis('a'), signal)).toEqual({ textSha256: 'one' })
  expect(await texts.read(analysis('a', 'one'), signal)).toEqual({ textSha256: 'one' })
  expect(asked).toEqual(['t d@2'])
  texts.forget('a')
  expect(await texts.read(analysis('a', 'one'), signal)).toEqual({ textSha256: 'one' })
  expect(asked).toHaveLength(2)
  texts.close()
})

it('keeps no text for longer than it was used a while ago', async () => {
  vi.useFakeTimers()
  try {
    const { asked, texts } = library('one', 'one')
    await texts.read(analysis('a'), signal)
    vi.advanceTimersByTime(KEEP_MS - 1)
    await texts.read(analysis('a'), signal)
    vi.advanceTimersByTime(KEEP_MS - 1)
    await texts.read(analysis('a'), signal)
    expect(asked).toHaveLength(1)
    vi.advanceTimersByTime(KEEP_MS)
    await texts.read(analysis('a'), signal)
    expect(asked).toHaveLength(2)
    texts.close()
  } finally {
    vi.useRealTimers()
  }
})

it('refuses another text than the one that the analysis began with', async () => {
  const { texts } = library('other', 'one')
  await expect(texts.read(analysis('a', 'one'), signal)).rejects.toThrow('has changed')
  expect(await texts.read(analysis('a', 'one'), signal)).toEqual({ textSha256: 'one' })
  texts.close()
})
