import { describe, expect, it } from 'vitest'
import { createScope } from './scope.ts'

function tracked() {
  const order: string[] = []
  const scope = createScope((name, error) => order.push(`${name} failed: ${(error as Error).message}`))
  return { order, scope, note: (name: string) => () => void order.push(name) }
}

describe('a scope', () => {
  it('releases last in, first out, one after the other', async () => {
    const { order, scope, note } = tracked()
    scope.onRelease('first', note('first'))
    scope.onRelease('second', async () => {
      order.push('second begins')
      await new Promise((resolve) => setImmediate(resolve))
      order.push('second ends')
    })
    scope.own({ close: note('third') })
    await scope.release()
    expect(order).toEqual(['third', 'second begins', 'second ends', 'first'])
  })

  it('goes on after a release that failed, and tells of it', async () => {
    const { order, scope, note } = tracked()
    scope.onRelease('first', note('first'))
    scope.onRelease('second', () => Promise.reject(new Error('stuck')))
    scope.onRelease('third', () => {
      throw new Error('broken')
    })
    await scope.release()
    expect(order).toEqual(['third failed: broken', 'second failed: stuck', 'first'])
  })

  it('releases what a start that failed half-way had opened', async () => {
    const { order, scope, note } = tracked()
    const start = async () => {
      scope.own({ close: note('database') })
      scope.own({ close: note('server') })
      throw new Error('port in use')
    }
    await expect(start()).rejects.toThrow('port in use')
    await scope.release()
    expect(order).toEqual(['server', 'database'])
  })

  it('hands back what it takes charge of, and closes it in the way that it knows', async () => {
    const { order, scope, note } = tracked()
    const closing = { close: note('close'), [Symbol.asyncDispose]: note('not this') as () => never }
    expect(scope.own(closing)).toBe(closing)
    scope.own({ [Symbol.asyncDispose]: async () => note('async dispose')() })
    scope.own({ [Symbol.dispose]: note('dispose') })
    await scope.release()
    expect(order).toEqual(['dispose', 'async dispose', 'close'])
  })

  it('releases each thing once', async () => {
    const { order, scope, note } = tracked()
    scope.onRelease('first', note('first'))
    await scope.release()
    await scope.release()
    expect(order).toEqual(['first'])
  })
})
