import {
  type ListDeadLettersRequest,
  ListDeadLettersResponse,
  type RedriveDeadLettersRequest,
  type ReplayEventsRequest,
  type TailEventsRequest,
  TailEventsResponse,
} from '@docmesh/contracts/ops/v1/event'
import { rpcError } from '@docmesh/rpc'
import { describe, expect, it } from 'vitest'
import { docmesh, ioInterruptedAtInput, type TestServices, testIo } from '../testing.fixture.ts'

const tailed = (position: bigint, type = 'docmesh.analysis.v1.AnalysisCompleted'): TailEventsResponse =>
  TailEventsResponse.fromPartial({
    position,
    payloadJson: '{"analysisId":"a1"}',
    event: {
      id: `e${position}`,
      type,
      aggregateType: 'analysis',
      aggregateId: 'a1',
      version: 3n,
      occurredAt: new Date('2026-11-21T04:05:06Z'),
    },
  })

describe('docmesh events tail', () => {
  const tailing = (asked: TailEventsRequest[]): TestServices => ({
    events: {
      async *tailEvents(request) {
        asked.push(request)
        yield tailed(7n)
        yield { ...tailed(8n), payloadJson: '' }
      },
    },
  })

  it('writes a line for each event, and follows new ones when no position is given', async () => {
    const asked: TailEventsRequest[] = []
    const { exitCode, out } = await docmesh(['events', 'tail'], { services: tailing(asked) })
    expect({ exitCode, lines: out.split('\n').map((line) => line.trim().split(/\s{2,}/)) }).toEqual({
      exitCode: 0,
      lines: [
        ['7', '2026-11-21 04:05:06', 'AnalysisCompleted', 'analysis/a1@3', '{"analysisId":"a1"}'],
        ['8', '2026-11-21 04:05:06', 'AnalysisCompleted', 'analysis/a1@3'],
        [''],
      ],
    })
    expect(asked).toEqual([{ types: [], aggregateId: '', fromPosition: 0n, follow: true }])
  })

  it('asks for types, an aggregate and a position, and follows from there only when told', async () => {
    const asked: TailEventsRequest[] = []
    const services = tailing(asked)
    const types = ['--type', 'AnalysisCompleted', '--type', 'docmesh.document.v1.DocumentErased']
    await docmesh(['events', 'tail', ...types, '--aggregate', 'a1', '--from', '7'], { services })
    await docmesh(['events', 'tail', '--from', '7', '--follow'], { services })
    expect(asked).toEqual([
      {
        types: ['AnalysisCompleted', 'docmesh.document.v1.DocumentErased'],
        aggregateId: 'a1',
        fromPosition: 7n,
        follow: false,
      },
      { types: [], aggregateId: '', fromPosition: 7n, follow: true },
    ])
  })

  it('writes proto3 JSON, one line for each event', async () => {
    const { out } = await docmesh(['events', 'tail', '--json'], { services: tailing([]) })
    const lines = out.trim().split('\n')
    expect(lines.map((line) => TailEventsResponse.fromJSON(JSON.parse(line)).position)).toEqual([7n, 8n])
  })

  it('has colours on a terminal that wants them', async () => {
    const ESCAPE = '\u001b['
    const run = (args: string[], io = testIo({ terminal: true })) =>
      docmesh(['events', 'tail', ...args], { services: tailing([]), io })
    expect((await run([])).out).toContain(ESCAPE)
    expect((await run(['--no-color'])).out).not.toContain(ESCAPE)
    expect((await run([], testIo())).out).not.toContain(ESCAPE)
  })

  it('ends with 0 at Ctrl-C', async () => {
    const io = testIo()
    const services: TestServices = {
      events: {
        async *tailEvents(_, { signal }) {
          yield tailed(7n)
          io.interrupt()
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
        },
      },
    }
    const { exitCode, err } = await docmesh(['events', 'tail'], { services, io })
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: '' })
  })

  it('ends with 5 and what to do where the registry has no database', async () => {
    const services: TestServices = {
      events: {
        // biome-ignore lint/correctness/useYield: it fails before the first event
        async *tailEvents() {
          throw rpcError('EVENTS_NOT_CONFIGURED', 'This registry has no database to find events in.')
        },
      },
    }
    const { exitCode, err } = await docmesh(['events', 'tail'], { services })
    expect({ exitCode, err }).toEqual({ exitCode: 5, err: expect.stringContaining('DATABASE_URL') })
  })
})

describe('docmesh events replay', () => {
  const replaying = (asked: ReplayEventsRequest[]): TestServices => ({
    events: {
      async replayEvents(request) {
        asked.push(request)
        return { events: 12n }
      },
    },
  })
  const replay = (...args: string[]) => ['events', 'replay', 'notification', '--from', '120', ...args]

  it('asks for positions and types under an id of its own, and tells how many events there are', async () => {
    const asked: ReplayEventsRequest[] = []
    const { exitCode, out } = await docmesh(replay('--to', '180', '--type', 'JobFailed', '--yes'), {
      services: replaying(asked),
    })
    expect({ exitCode, out }).toEqual({
      exitCode: 0,
      out: '12 events are on the way to notification again\n',
    })
    expect(asked).toEqual([
      {
        subscriber: 'notification',
        fromPosition: 120n,
        toPosition: 180n,
        types: ['JobFailed'],
        requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      },
    ])
  })

  it('asks first on a terminal', async () => {
    const asked: ReplayEventsRequest[] = []
    const services = replaying(asked)
    const no = await docmesh(replay(), { services, io: testIo({ terminal: true, stdin: 'n\n' }) })
    expect({ exitCode: no.exitCode, asked: asked.length }).toEqual({ exitCode: 2, asked: 0 })
    expect(no.err).toContain('Deliver the events from 120 on to notification again? [y/N]')
    const yes = await docmesh(replay(), { services, io: testIo({ terminal: true, stdin: 'y\n' }) })
    expect({ exitCode: yes.exitCode, asked: asked.length }).toEqual({ exitCode: 0, asked: 1 })
  })

  it('ends with 130 at Ctrl-C while it asks', async () => {
    const asked: ReplayEventsRequest[] = []
    const io = ioInterruptedAtInput({ terminal: true })
    const { exitCode } = await docmesh(replay(), { services: replaying(asked), io })
    expect({ exitCode, asked }).toEqual({ exitCode: 130, asked: [] })
  })

  it('wants --yes where nobody can be asked', async () => {
    const asked: ReplayEventsRequest[] = []
    const { exitCode, err } = await docmesh(replay(), { services: replaying(asked) })
    expect({ exitCode, err, asked }).toEqual({
      exitCode: 2,
      err: expect.stringContaining('say --yes'),
      asked: [],
    })
  })

  it('ends with 2 and the names that there are for an unknown subscriber', async () => {
    const services: TestServices = {
      events: {
        replayEvents: () =>
          Promise.reject(rpcError('SUBSCRIBER_NOT_FOUND', 'No subscriber is called "x". There are: audit.')),
      },
    }
    const { exitCode, err } = await docmesh(replay('--yes'), { services })
    expect({ exitCode, err }).toEqual({ exitCode: 2, err: expect.stringContaining('There are: audit') })
  })
})

describe('docmesh events dead-letters', () => {
  const page = ListDeadLettersResponse.fromPartial({
    deadLetters: [
      {
        id: '17',
        subscriber: 'notification',
        attempts: 5,
        error: `no\u001b[31m ${'x'.repeat(100)}`,
        deadAt: new Date('2026-11-21T04:05:06Z'),
        event: tailed(7n).event,
      },
    ],
    nextPageToken: 'MTc',
  })
  const listing = (asked: ListDeadLettersRequest[]): TestServices => ({
    events: {
      async listDeadLetters(request) {
        asked.push(request)
        return page
      },
    },
  })

  it('shows a page of them, harmless to the terminal, and how to get the next', async () => {
    const asked: ListDeadLettersRequest[] = []
    const args = ['events', 'dead-letters', '--subscriber', 'notification', '--page-size', '1']
    const { out, err } = await docmesh(args, { services: listing(asked) })
    expect(out.split('\n')[1]?.split(/\s{2,}/)).toEqual([
      '17',
      'notification',
      'AnalysisCompleted',
      'analysis/a1',
      '5',
      '2026-11-21 04:05:06',
      `no [31m ${'x'.repeat(51)}…`,
    ])
    expect(err).toBe('more: --page-token MTc\n')
    expect(asked).toEqual([{ subscriber: 'notification', pageSize: 1, pageToken: '' }])
  })

  it('writes proto3 JSON', async () => {
    const { out } = await docmesh(['events', 'dead-letters', '--json'], { services: listing([]) })
    expect(ListDeadLettersResponse.fromJSON(JSON.parse(out))).toEqual(page)
  })
})

describe('docmesh events redrive', () => {
  const redriving = (asked: RedriveDeadLettersRequest[]): TestServices => ({
    events: {
      async redriveDeadLetters(request) {
        asked.push(request)
        return { redriven: 1 }
      },
    },
  })

  it('asks for ids, or for all of a subscriber', async () => {
    const asked: RedriveDeadLettersRequest[] = []
    const services = redriving(asked)
    const { out } = await docmesh(['events', 'redrive', '17', '18'], { services })
    expect(out).toBe('1 dead letter is on the way again\n')
    await docmesh(['events', 'redrive', '--subscriber', 'notification'], { services })
    const requestId = expect.stringMatching(/^[0-9a-f-]{36}$/)
    expect(asked).toEqual([
      { deadLetterIds: ['17', '18'], subscriber: '', requestId },
      { deadLetterIds: [], subscriber: 'notification', requestId },
    ])
  })

  it.each([[[]], [['17', '--subscriber', 'notification']]])(
    'refuses %j: it takes either ids or a subscriber',
    async (args) => {
      const asked: RedriveDeadLettersRequest[] = []
      const { exitCode } = await docmesh(['events', 'redrive', ...args], { services: redriving(asked) })
      expect({ exitCode, asked }).toEqual({ exitCode: 2, asked: [] })
    },
  )
})

describe('docmesh events --help', () => {
  it.each([[[]], [['tail']], [['replay']], [['dead-letters']], [['redrive']]])(
    'explains %j',
    async (path) => {
      const { exitCode, out } = await docmesh(['events', ...path, '--help'])
      expect(exitCode).toBe(0)
      expect(out).toContain(path.length === 0 ? 'docmesh events replay notification --from' : '--json')
    },
  )
})
