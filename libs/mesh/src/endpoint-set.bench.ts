// What one pick costs, with and without the subset: percentiles over batches of 20 × (pick + done), divided by 20. A
// single one is shorter than the clock can tell; in a long batch, the interruptions by other processes would be more
// than one in a hundred, and the 99th percentile would measure those.
import { endpointNamed, seededRandom } from './endpoint.fixture.ts'
import { createEndpointSet } from './endpoint-set.ts'

const ENDPOINTS = 1_000
const BATCH = 20
const BATCHES = 100_000
const WARM_UP = 20_000

function measure(subsetSize: number) {
  const set = createEndpointSet({ now: () => performance.now(), random: seededRandom(1), subsetSize })
  set.update(Array.from({ length: ENDPOINTS }, (_, i) => endpointNamed(`instance-${i}`)))
  const batchNs = (): number => {
    const startedAtMs = performance.now()
    for (let i = 0; i < BATCH; i++) {
      const pick = set.pick()
      if (typeof pick === 'string') throw new Error(pick)
      pick.done('SUCCESS')
    }
    return ((performance.now() - startedAtMs) * 1e6) / BATCH
  }
  for (let batch = 0; batch < WARM_UP; batch++) batchNs()
  const times = Float64Array.from({ length: BATCHES }, batchNs).sort()
  return { p50_ns: Math.round(times[BATCHES * 0.5] ?? 0), p99_ns: Math.round(times[BATCHES * 0.99] ?? 0) }
}

const line = {
  bench: 'pick',
  endpoints: ENDPOINTS,
  ...measure(20),
  no_subset: measure(ENDPOINTS),
  batch: BATCH,
}
process.stdout.write(`${JSON.stringify(line)}\n`)
