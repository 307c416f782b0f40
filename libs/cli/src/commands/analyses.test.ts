import {
  Analysis,
  AnalysisState,
  type ListAnalysesRequest,
  StepState,
  Verdict,
} from '@docmesh/contracts/analysis/v1/analysis'
import { rpcError } from '@docmesh/rpc'
import { describe, expect, it } from 'vitest'
import { docmesh, type TestServices } from '../testing.fixture.ts'

const at = new Date('2026-11-21T04:05:06Z')
const analysis = (state: AnalysisState, more: Partial<Analysis> = {}): Analysis =>
  Analysis.fromPartial({
    id: 'a-1',
    documentId: 'd-1',
    documentVersion: 2,
    documentName: 'contract.pdf',
    state,
    progressPercent: 55.5,
    steps: [
      { name: 'extract', state: StepState.COMPLETED, attempts: 1 },
      { name: 'rules', state: StepState.RUNNING, attempts: 2 },
    ],
    createdAt: at,
    ...more,
  })

const analysesWith = (analyses: TestServices['analyses']): { services: TestServices } => ({
  services: { analyses: analyses ?? {} },
})

describe('docmesh analyses list', () => {
  it('shows the analyses that were asked for with progress and score', async () => {
    const asked: ListAnalysesRequest[] = []
    const result = { score: 63, verdict: Verdict.FAIL, ledger: [], coverage: undefined, counts: undefined }
    const { out, err } = await docmesh(
      ['analyses', 'list', '--state', 'paused', '--document', 'd-1', '--batch', 'b-1', '--page-token', 'p'],
      analysesWith({
        async listAnalyses(request) {
          asked.push(request)
          return { analyses: [analysis(AnalysisState.PAUSED, { result })], nextPageToken: 'more' }
        },
      }),
    )
    expect(out.split('\n')[1]?.split(/\s{2,}/)).toEqual([
      'a-1',
      'contract.pdf',
      'paused',
      '55 %',
      '63 fail',
      '2026-11-21 04:05:06',
    ])
    expect(err).toBe('more: --page-token more\n')
    expect(asked).toEqual([
      { pageSize: 0, pageToken: 'p', documentId: 'd-1', batchId: 'b-1', states: [AnalysisState.PAUSED] },
    ])
  })

  it.each(['constructor', '__proto__'])('ends with 2 for the state %s', async (state) => {
    const { exitCode, err } = await docmesh(['analyses', 'list', '--state', state], analysesWith({}))
    expect({ exitCode, err }).toEqual({ exitCode: 2, err: expect.stringContaining('write one of queued') })
  })

  it('ends with 2 for a state that does not exist', async () => {
    const { exitCode, err } = await docmesh(['analyses', 'list', '--state', 'lost'])
    expect({ exitCode, err }).toEqual({
      exitCode: 2,
      err: expect.stringContaining('write one of queued, running'),
    })
  })
})

describe('docmesh analyses show', () => {
  const services = analysesWith({ getAnalysis: async () => ({ analysis: analysis(AnalysisState.RUNNING) }) })

  it('shows an analysis with its steps', async () => {
    const { out } = await docmesh(['analyses', 'show', 'a-1'], services)
    expect(out).toContain('document    contract.pdf (d-1, version 2)\n')
    expect(out).toContain('done        55 %, rules\n')
    expect(out).toMatch(/\nrules {2,}running {2,}2\n/)
  })

  it('writes proto3 JSON', async () => {
    const { out } = await docmesh(['analyses', 'show', 'a-1', '--json'], services)
    expect(Analysis.fromJSON(JSON.parse(out))).toEqual(analysis(AnalysisState.RUNNING))
  })
})

describe('docmesh analyses watch', () => {
  const states = [
    analysis(AnalysisState.QUEUED, { queuePosition: 3, steps: [] }),
    analysis(AnalysisState.RUNNING),
  ]
  const lines = (out: string): string[] => out.split('\n').map((line) => line.replace(/^\S+ \S+ {2}/, ''))

  it('writes a line for each change until the analysis is completed, and none twice after a break', async () => {
    let calls = 0
    const { exitCode, out } = await docmesh(
      ['analyses', 'watch', 'a-1'],
      analysesWith({
        async *watchAnalysis() {
          calls++
          if (calls === 1) for (const each of states) yield { analysis: each }
          if (calls === 1) throw rpcError('SHUTTING_DOWN', 'The instance is ending.')
          yield { analysis: states[1] }
          yield { analysis: analysis(AnalysisState.COMPLETED, { progressPercent: 100, steps: [] }) }
        },
      }),
    )
    expect(exitCode).toBe(0)
    expect(lines(out)).toEqual(['queued 55 % place 3', 'running 55 % rules', 'completed 100 %', ''])
  })

  it('ends with 5 and the reason when the analysis fails', async () => {
    const failure = {
      step: 'extract',
      reason: 'DOCUMENT_UNREADABLE',
      message: 'It is protected.',
      retryable: false,
    }
    const { exitCode, out } = await docmesh(
      ['analyses', 'watch', 'a-1', '--json'],
      analysesWith({
        async *watchAnalysis() {
          yield { analysis: analysis(AnalysisState.FAILED, { failure }) }
        },
      }),
    )
    expect(exitCode).toBe(5)
    expect(JSON.parse(out).failure.message).toBe('It is protected.')
  })

  it('ends with 2 for an analysis that does not exist', async () => {
    const { exitCode, err } = await docmesh(
      ['analyses', 'watch', 'x'],
      analysesWith({
        // biome-ignore lint/correctness/useYield: it fails before it has something to say
        async *watchAnalysis() {
          throw rpcError('ANALYSIS_NOT_FOUND', 'No analysis has the id "x".')
        },
      }),
    )
    expect({ exitCode, err }).toEqual({
      exitCode: 2,
      err: expect.stringContaining('No analysis has the id "x"'),
    })
  })
})

describe('docmesh analyses pause, resume, cancel, retry and rerun', () => {
  it('gives each order under an identifier of the request, and shows the analysis after it', async () => {
    const asked: string[] = []
    const tell = (order: string, { requestId, ...rest }: { requestId: string }): void =>
      void asked.push(`${order} ${requestId.length} ${JSON.stringify(rest)}`)
    const services = analysesWith({
      async pauseAnalysis(request) {
        tell('pause', request)
        return { analysis: analysis(AnalysisState.PAUSED) }
      },
      async resumeAnalysis(request) {
        tell('resume', request)
        return { analysis: analysis(AnalysisState.QUEUED) }
      },
      async cancelAnalysis(request) {
        tell('cancel', request)
        return { analysis: analysis(AnalysisState.CANCELLED) }
      },
      async retryAnalysis(request) {
        tell('retry', request)
        return { analysis: analysis(AnalysisState.QUEUED) }
      },
      async rerunAnalysis(request) {
        tell('rerun', request)
        return { analysis: analysis(AnalysisState.QUEUED, { rerunOf: 'a-1' }) }
      },
    })
    const state = async (...args: string[]): Promise<string> => {
      const { out } = await docmesh(['analyses', ...args], services)
      return /\nstate +(\S+)\n/.exec(out)?.[1] ?? out
    }
    expect(await state('pause', 'a-1')).toBe('paused')
    expect(await state('resume', 'a-1')).toBe('queued')
    expect(await state('cancel', 'a-1', '--reason', 'a mistake')).toBe('cancelled')
    expect(await state('retry', 'a-1')).toBe('queued')
    expect(await state('rerun', 'a-1', '--rules', 'br.lgpd', '--rules', 'core.contract@1.0.0')).toBe('queued')
    expect(asked).toEqual([
      'pause 36 {"analysisId":"a-1"}',
      'resume 36 {"analysisId":"a-1"}',
      'cancel 36 {"analysisId":"a-1","reason":"a mistake"}',
      'retry 36 {"analysisId":"a-1"}',
      'rerun 36 {"analysisId":"a-1","rulePacks":["br.lgpd","core.contract@1.0.0"]}',
    ])
  })

  it('says why an order was refused', async () => {
    const refused = () => Promise.reject(rpcError('ANALYSIS_ENDED', 'Analysis "a-1" is completed.'))
    const { exitCode, err } = await docmesh(
      ['analyses', 'pause', 'a-1'],
      analysesWith({ pauseAnalysis: refused }),
    )
    expect({ exitCode, err }).toEqual({
      exitCode: 5,
      err: expect.stringContaining('Analysis "a-1" is completed'),
    })
  })
})
