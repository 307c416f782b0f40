import { createMetrics } from '@docmesh/telemetry'
import { createLogger } from '@docmesh/telemetry/logger'
import { describe, expect, it } from 'vitest'
import { callOf } from './call.fixture.ts'
import { Code } from './codes.ts'
import { runInCall } from './context.ts'
import { RpcError, rpcError } from './errors.ts'
import type { Call, Layer } from './layer.ts'
import { callLogFields, logLayer, metricsLayer } from './observe.ts'

const remote = { method: '/x/Y', connectionFailed: false, notSent: false, pushbackMs: undefined }
const fromDependency = (code: Code) => new RpcError(code, 'X', 'words of the dependency', {}, remote)

async function* numbers(failure?: Error) {
  yield 1
  yield 2
  if (failure) throw failure
}

describe('metrics of calls', () => {
  async function counted(side: 'server' | 'client', call: Call, run: () => Promise<unknown>) {
    const metrics = createMetrics({ service: 's', version: '1', processMetrics: false })
    await metricsLayer(
      metrics,
      side,
    )(run)(call)
      .then(
        async (answer) =>
          call.method.responseStream && (await Array.fromAsync(answer as AsyncIterable<unknown>)),
      )
      .catch(() => {})
    const { body } = await metrics.render()
    const codes = [...body.matchAll(/_handled_total\{[^}]*grpc_code="(\w+)"\} 1/g)].map(([, code]) => code)
    const timed = [...body.matchAll(/_handling_seconds_count\{[^}]*grpc_method="(\w+)"[^}]*\} 1/g)]
    expect(timed.map(([, method]) => method)).toEqual([call.method.name])
    expect(body).toContain(`grpc_${side}_handled_total`)
    return codes
  }

  it('count an answer as OK and time it', async () => {
    expect(await counted('server', callOf('getDocument'), async () => ({}))).toEqual(['OK'])
  })

  it('count a stream once, by how it ended', async () => {
    expect(await counted('server', callOf('downloadDocument'), async () => numbers())).toEqual(['OK'])
    const broken = numbers(rpcError('UPLOAD_NOT_FOUND', 'x'))
    expect(await counted('server', callOf('downloadDocument'), async () => broken)).toEqual(['NOT_FOUND'])
  })

  it('of a server count the code that the caller is told', async () => {
    const failing = (error: unknown) => counted('server', callOf('getDocument'), () => Promise.reject(error))
    expect(await failing(rpcError('DOCUMENT_NOT_FOUND', 'x'))).toEqual(['NOT_FOUND'])
    expect(await failing(new Error('x'))).toEqual(['INTERNAL'])
    expect(await failing(fromDependency(Code.NOT_FOUND))).toEqual(['INTERNAL'])
    expect(await failing(fromDependency(Code.RESOURCE_EXHAUSTED))).toEqual(['UNAVAILABLE'])
  })

  it('of a client count the code that the server gave', async () => {
    const failure = () => Promise.reject(fromDependency(Code.NOT_FOUND))
    expect(await counted('client', callOf('getDocument'), failure)).toEqual(['NOT_FOUND'])
  })
})

describe('the log of calls', () => {
  async function logged(
    run: () => Promise<unknown>,
    call = callOf('getDocument'),
    inside = (layer: Layer) => layer,
  ) {
    const lines: Record<string, unknown>[] = []
    const logger = createLogger({
      service: 's',
      version: '1',
      context: callLogFields,
      destination: { write: (line) => lines.push(JSON.parse(line)) },
    })
    await inside(logLayer(logger))(run)(call)
      .then(
        async (answer) =>
          call.method.responseStream && (await Array.fromAsync(answer as AsyncIterable<unknown>)),
      )
      .catch(() => {})
    return lines
  }

  it('has no line for a call that was answered', async () => {
    expect(await logged(async () => ({}))).toEqual([])
  })

  it('has one line for a failed call, with every cause', async () => {
    const root = new Error('disk is full')
    const lines = await logged(async () => {
      throw rpcError('INTERNAL', 'Could not store.', { cause: new Error('write failed', { cause: root }) })
    })
    expect(lines).toEqual([
      expect.objectContaining({
        level: 'error',
        msg: 'call failed',
        rpc: 'docmesh.document.v1.DocumentService/GetDocument',
        code: 'INTERNAL',
      }),
    ])
    expect(JSON.stringify(lines)).toContain('write failed')
    expect(JSON.stringify(lines)).toContain('disk is full')
  })

  it('has one line for a stream that failed after its first messages', async () => {
    const lines = await logged(async () => numbers(new Error('x')), callOf('downloadDocument'))
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatchObject({ level: 'error', code: 'INTERNAL' })
  })

  it.each([
    ['an answer that the caller has to act on', rpcError('DOCUMENT_NOT_FOUND', 'x'), 'info', 'NOT_FOUND'],
    ['a caller who gave up', fromDependency(Code.CANCELLED), 'info', 'CANCELLED'],
    ['a fault of a dependency', fromDependency(Code.NOT_FOUND), 'error', 'INTERNAL'],
    ['a dependency that is away', fromDependency(Code.UNAVAILABLE), 'error', 'UNAVAILABLE'],
    ['an unexpected error', new TypeError('x'), 'error', 'INTERNAL'],
  ])('tells of %s at the level that fits, with the code that goes out', async (_, error, level, code) => {
    expect(await logged(() => Promise.reject(error))).toEqual([expect.objectContaining({ level, code })])
  })

  it('carries the request id and the user of the call in progress', async () => {
    const context = {
      requestId: 'r-1',
      userId: 'ana',
      tenantId: '',
      deadline: 0,
      signal: AbortSignal.abort(),
    }
    const inCall =
      (layer: Layer): Layer =>
      (next) =>
      (call) =>
        runInCall(context, () => layer(next)(call))
    const lines = await logged(() => Promise.reject(new Error('x')), callOf('getDocument'), inCall)
    expect(lines).toEqual([expect.objectContaining({ request_id: 'r-1', user_id: 'ana' })])
  })
})
