import { setTimeout } from 'node:timers/promises'
import { type Code, type Method, RpcError, toGrpcStatus } from '@docmesh/rpc'
import type { TrafficRoute } from '../traffic-policy.ts'
import type { TargetService } from './target-service.ts'

/** Waits as long as the traffic policy wants; rejects with the status that it wants, in the form of grpc-js. */
export async function injectFault(
  { name, count, decisions }: TargetService,
  { method, route }: { readonly method: Method; readonly route: TrafficRoute },
): Promise<void> {
  const { delayMs = 0, abortCode, version = '' } = route
  await setTimeout(delayMs)
  if (abortCode === undefined) return
  count.refused('fault_injected')
  decisions.refused(method, 1, 'fault_injected', abortCode, version)
  const text = `The traffic policy of ${name} injects this fault.`
  throw toGrpcStatus(new RpcError(abortCode as Code, 'FAULT_INJECTED', text))
}
