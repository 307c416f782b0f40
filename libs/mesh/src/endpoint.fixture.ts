import type { Endpoint } from './endpoint.ts'

export const endpointNamed = (instanceId: string, fields: Partial<Endpoint> = {}): Endpoint => ({
  instanceId,
  address: `${instanceId}.test:1`,
  version: '1.0.0',
  zone: '',
  weight: 100,
  healthy: true,
  degraded: false,
  draining: false,
  ...fields,
})

/** mulberry32 (public domain): uniform in [0, 1), the same for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
