import { describe, expect, it } from 'vitest'
import type { ProcessState } from '../supervised-process.ts'
import { testIo } from '../testing.fixture.ts'
import { createLiveLine } from './live-line.ts'
import { changeLine, statusLine } from './mesh-status.ts'
import { createMeshView } from './mesh-view.ts'
import { createProgress } from './progress.ts'
import { styleFor } from './style.ts'
import { table } from './table.ts'
import { durationText, plain, sizeText, truncated, wrapped } from './text.ts'

describe('text of others', () => {
  it('cannot command the terminal', () => {
    expect(plain('a\u001b[31mred\u0007\nb\u202etxet\u2066')).toBe('a [31mred b txet')
  })

  it('is wrapped at words, a longer word whole', () => {
    expect(wrapped('one two three incomprehensibilities x', 12, '  ')).toEqual([
      '  one two',
      '  three',
      '  incomprehensibilities',
      '  x',
    ])
  })

  it('is cut with an ellipsis', () => {
    expect(truncated('abcdef', 4)).toBe('abc…')
    expect(truncated('abcd', 4)).toBe('abcd')
  })
})

describe('units', () => {
  it.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [59_999, '59 s'],
    [185_000, '3 min 05 s'],
    [7_800_000, '2 h 10 min'],
  ])('writes %i ms as %s', (ms, text) => expect(durationText(ms)).toBe(text))

  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_000, '1.0 kB'],
    [1_440_000, '1.4 MB'],
  ])('writes %i bytes as %s', (bytes, text) => expect(sizeText(bytes)).toBe(text))
})

describe('table', () => {
  it('aligns columns on their widest cell and keeps a row on one line', () => {
    expect(
      table(
        ['ID', 'NAME'],
        [
          ['1', 'two\nlines'],
          ['12345', ''],
        ],
      ),
    ).toBe('ID     NAME\n1      two lines\n12345\n')
  })
})

describe('progress', () => {
  const states = [
    { step: 'upload', percent: 0 },
    { step: 'upload', percent: 50 },
    { step: 'extract', percent: 40.6 },
    { step: 'extract', percent: 45, remainingMs: 3_200 },
  ]
  const show = (terminal: boolean): string => {
    const { io, err } = testIo({ terminal })
    const progress = createProgress(io.stderr, 'a.pdf')
    for (const state of states) progress.update(state)
    progress.end()
    return err()
  }

  it('is a line at each change of step without a terminal', () => {
    expect(show(false)).toBe('a.pdf: upload 0 %\na.pdf: extract 40 %\n')
  })

  it('is a bar that is drawn again on a terminal and gone at the end', () => {
    const drawn = show(true).split('\r\u001b[2K')
    expect(drawn[2]).toContain('[############------------]  50 %  upload')
    expect(drawn[4]).toContain('45 %  extract  about 3 s left')
    expect(drawn.at(-1)).toBe('')
    expect(show(true)).not.toContain('\n')
  })
})

describe('live line', () => {
  it('fits a narrow terminal, so that it stays one line', () => {
    const written: string[] = []
    createLiveLine({ write: (data) => written.push(String(data)), columns: 10 }).set('0123456789abc')
    expect(written.join('')).toBe('\r\u001b[2K01234567…')
  })

  it('fits a terminal of one column', () => {
    const written: string[] = []
    createLiveLine({ write: (data) => written.push(String(data)), columns: 1 }).set('0123456789abc')
    expect(written.join('')).toBe('\r\u001b[2K…')
  })

  it('is drawn again below what is printed', () => {
    const written: string[] = []
    const line = createLiveLine({ write: (data) => written.push(String(data)) })
    line.set('status')
    line.print('news\n')
    expect(written.join('')).toBe('\r\u001b[2Kstatus\r\u001b[2Knews\n\r\u001b[2Kstatus')
  })
})

describe('colours', () => {
  it('are for a terminal that does not say no', () => {
    const coloured = (terminal: boolean, env: Record<string, string>, color = true): boolean =>
      styleFor(terminal, { env, color }).red('x') !== 'x'
    expect(coloured(true, {})).toBe(true)
    expect(coloured(false, {})).toBe(false)
    expect(coloured(true, { NO_COLOR: '1' })).toBe(false)
    expect(coloured(true, { TERM: 'dumb' })).toBe(false)
    expect(coloured(true, {}, false)).toBe(false)
  })
})

describe('mesh status', () => {
  const instance = (name: string, state: ProcessState) => {
    const [service = ''] = name.split('-')
    const spec = { name, service, script: '', execArgv: [], env: {}, logFile: `/logs/${service}.log` }
    const nothing = async (): Promise<never> => Promise.reject(new Error('not in this test'))
    const ready = new Promise<never>(() => {})
    return { spec, state: () => state, ready, stop: nothing, kill: () => {} }
  }
  const mesh = [
    instance('registry', { kind: 'ready', address: 'r:1' }),
    instance('document-1', { kind: 'ready', address: 'd:1' }),
    instance('document-2', { kind: 'restarting', delayMs: 400, ended: 'SIGKILL' }),
  ] as const

  it('groups the instances of a service', () => {
    expect(statusLine(mesh, 65_000)).toBe(
      'registry ready · document ×2 1 ready, 1 restarting · up 1 min 05 s',
    )
  })

  it('tells of a process that is ready, and of one that ended with where to read why', () => {
    expect(changeLine(mesh[0])).toBe('registry ready on r:1')
    expect(changeLine(mesh[2])).toBe(
      'document-2 ended (SIGKILL); starting it again in 400 ms; see /logs/document.log',
    )
    expect(changeLine(instance('analysis', { kind: 'starting' }))).toBeUndefined()
  })

  it('is one line for each change without a terminal', () => {
    const { io, err } = testIo()
    const view = createMeshView(io.stderr, () => 0)
    for (const process of mesh) view.changed(process)
    view.end()
    expect(err().split('\n')).toHaveLength(4)
    expect(err()).not.toContain('\u001b')
  })

  it('leaves the terminal alone while it is paused', () => {
    const { io, err } = testIo({ terminal: true })
    const view = createMeshView(io.stderr, () => 0)
    view.changed(mesh[0])
    view.pause()
    const before = err()
    view.changed(mesh[1])
    expect(err()).toBe(before)
    view.resume()
    expect(err()).toContain('document ready')
    view.end()
  })
})
