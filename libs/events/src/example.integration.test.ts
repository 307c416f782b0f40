import { Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import { AnalysisCompleted } from '@docmesh/contracts/analysis/v1/events'
import { eventually } from '@docmesh/testing'
import { expect, it } from 'vitest'
import { tallyVerdicts } from '../../../docs/examples/subscribe-events.ts'
import { openWorld } from './world.fixture.ts'

const natsUrl = process.env.TEST_NATS_URL

it.each([
  { name: 'PostgreSQL', natsUrl: undefined },
  ...(natsUrl === undefined ? [] : [{ name: 'JetStream', natsUrl }]),
])('docs/examples/subscribe-events.ts hears of another service over $name', async ({ natsUrl }) => {
  await using world = await openWorld(natsUrl)
  await world.db.query('create table verdicts (verdict int primary key, analyses int not null)')
  const analysis = await world.start()
  const statistics = await world.start()
  tallyVerdicts(statistics.events)
  const verdicts = [Verdict.PASS, Verdict.FAIL, Verdict.PASS]
  for (const [index, verdict] of verdicts.entries())
    await analysis.db.transaction((tx) =>
      analysis.events.publish(tx, AnalysisCompleted, AnalysisCompleted.fromPartial({ verdict }), {
        aggregateType: 'analysis',
        aggregateId: `a${index}`,
      }),
    )
  await eventually(async () =>
    expect(await world.db.query('select * from verdicts order by verdict')).toEqual([
      { verdict: Verdict.PASS, analyses: 2 },
      { verdict: Verdict.FAIL, analyses: 1 },
    ]),
  )
})
