import { HTTPFault } from '@docmesh/contracts/envoy/extensions/filters/http/fault/v3/fault'
import { FractionalPercent_DenominatorType } from '@docmesh/contracts/envoy/type/v3/percent'
import type { Any } from '@docmesh/contracts/google/protobuf/any'
import type { FaultPolicy } from '@docmesh/contracts/registry/v1/registry'
import { any } from './any.ts'

/** By this name the routes say what the filter of the listener is to do. */
export const FAULT_FILTER = 'fault'

/** Without a policy: no fault. */
export function faultConfig(policy: FaultPolicy | undefined): Any {
  const { delay, delayPercent = 0, abortPercent = 0, abortCode = 0 } = policy ?? {}
  const fault = HTTPFault.fromPartial({
    delay:
      delay && delayPercent > 0
        ? { faultDelaySecifier: { $case: 'fixedDelay', value: delay }, percentage: fraction(delayPercent) }
        : undefined,
    abort:
      abortPercent > 0
        ? { errorType: { $case: 'grpcStatus', value: abortCode }, percentage: fraction(abortPercent) }
        : undefined,
  })
  const typeUrl = 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault'
  return any(typeUrl, HTTPFault.encode(fault).finish())
}

const fraction = (percent: number) => ({
  numerator: Math.round(percent * 10_000),
  denominator: FractionalPercent_DenominatorType.MILLION,
})
