// Faults, tried for real: `npm run faults`. One line of JSON per scenario; exit code 1 when a bar is missed.
import { parseArgs } from 'node:util'
import { fleetScenarios } from './fleet/scenarios.ts'
import { meshScenarios } from './mesh/scenarios.ts'
import { storeScenarios } from './mesh/stores.ts'

const groups = { mesh: { ...meshScenarios, ...storeScenarios }, fleet: fleetScenarios }
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'boolean', default: false },
    'registry-down-s': { type: 'string' },
    seed: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
const all = Object.entries(groups).flatMap(([group, scenarios]) =>
  Object.entries(scenarios).map(([name, run]) => ({
    group,
    name,
    run,
    names: [group, name, `${group}/${name}`],
  })),
)
if (values.help) {
  const lists = Object.entries(groups).map(
    ([group, scenarios]) => `  ${group.padEnd(5)}  ${Object.keys(scenarios).join(', ')}`,
  )
  process.stdout.write(`npm run faults -- [--short] [--registry-down-s 20] [--seed N] [WHAT…]

  WHAT                 a group, a scenario, or group/scenario where both groups have it (default: all)
  --short              fewer repetitions, shorter outages
  --registry-down-s N  how long the registry is away in registry-down (default 20, 4 with --short)
  --seed N             what falls when in the fleet (default: another one each time)

One line of JSON per scenario; exit code 1 when a bar is missed.

${lists.join('\n')}
`)
  process.exit(0)
}
const unknown = positionals.filter((wanted) => !all.some(({ names }) => names.includes(wanted)))
if (unknown.length > 0) {
  process.stderr.write(`faults: no scenario ${unknown.join(', ')}; --help names all there are\n`)
  process.exit(64)
}
const { short } = values
const downSeconds = Number(values['registry-down-s'] ?? (short ? 4 : 20))
if (!(downSeconds > 0 && downSeconds <= 3_600)) {
  process.stderr.write('faults: --registry-down-s takes seconds, more than 0 and at most 3600\n')
  process.exit(64)
}
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9))
if (!Number.isInteger(seed)) {
  process.stderr.write('faults: --seed takes a whole number\n')
  process.exit(64)
}

let missed = 0
for (const { group, name, run, names } of all) {
  if (positionals.length > 0 && !positionals.some((wanted) => names.includes(wanted))) continue
  const begunAt = performance.now()
  const result = await run({ short, seed, registryDownMs: downSeconds * 1_000 }).catch((error: unknown) => ({
    ok: false,
    error: String(error),
  }))
  if (result.ok === false) missed++
  const seconds = Math.round((performance.now() - begunAt) / 1_000)
  process.stdout.write(`${JSON.stringify({ group, scenario: name, ...result, seconds })}\n`)
}
process.exit(missed > 0 ? 1 : 0)
