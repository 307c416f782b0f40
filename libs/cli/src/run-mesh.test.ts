import type { HealingEvent } from '@docmesh/healing'
import { describe, expect, it } from 'vitest'
import type { LocalMeshOptions } from './local-mesh.ts'
import { docmesh, testIo } from './testing.fixture.ts'

/** Runs `docmesh up` until `whileUp` is done. */
async function up(args: readonly string[], whileUp: (options: LocalMeshOptions) => void) {
  const io = testIo()
  const startMesh = async (options: LocalMeshOptions) => {
    const mesh = {
      registry: '127.0.0.1:7400',
      gaveUp: new Promise<never>(() => {}),
      processes: () => [],
      stop: async () => {},
    }
    whileUp(options)
    io.interrupt()
    return { kind: 'started', mesh } as const
  }
  return docmesh(['up', ...args], { io, startMesh })
}

describe('docmesh up', () => {
  it('mends itself unless it is told not to', async () => {
    const seen: boolean[] = []
    await up([], ({ healing }) => seen.push(healing !== undefined))
    await up(['--no-heal'], ({ healing }) => seen.push(healing !== undefined))
    expect(seen).toEqual([true, false])
  })

  it('says what it notices and does, one line each', async () => {
    const check = 'health/document-1'
    const events: HealingEvent[] = [
      { kind: 'checked', check, healthy: false, detail: 'no answer\nwithin 2000 ms' },
      { kind: 'started', recoveryId: 'r', check, action: 'restart' },
      { kind: 'checked', check, healthy: true, detail: '' },
      { kind: 'completed', recoveryId: 'r', check, succeeded: true, detail: 'restarted document-1' },
      {
        kind: 'completed',
        recoveryId: 's',
        check,
        succeeded: false,
        detail: `${check} (high): no action helps`,
      },
    ]
    const { err } = await up([], ({ healing }) => {
      for (const event of events) healing?.onEvent?.(event)
    })
    expect(err.split('\n').slice(0, 5)).toEqual([
      'health/document-1 fails: no answer within 2000 ms',
      'health/document-1: restart',
      'health/document-1 passes again',
      'health/document-1 is mended: restarted document-1',
      'could not be mended: health/document-1 (high): no action helps',
    ])
  })
})
