import type { RegistryServiceDefinition } from '@docmesh/contracts/registry/v1/registry'
import { type FieldViolation, type Handlers, invalidRequest } from '@docmesh/rpc'
import type { Policies } from './policies.ts'
import { SERVICE_NAME } from './policy.ts'

type PolicyMethods = 'getTrafficPolicy' | 'putTrafficPolicy' | 'deleteTrafficPolicy'

const REQUEST_ID = /^[\x21-\x7e]{0,128}$/

/** The methods of RegistryService for traffic policies. */
export function policyHandlers(
  policies: Policies,
): Pick<Handlers<typeof RegistryServiceDefinition>, PolicyMethods> {
  return {
    async getTrafficPolicy({ service }) {
      return { policy: policies.get(service) }
    },
    async putTrafficPolicy({ policy, requestId }) {
      if (!policy) throw invalidRequest([{ field: 'policy', description: 'set it' }, ...idFaults(requestId)])
      demand(idFaults(requestId))
      return { policy: await policies.put(policy, requestId) }
    },
    async deleteTrafficPolicy({ service, requestId }) {
      const named = SERVICE_NAME.test(service)
      demand([
        ...(named ? [] : [{ field: 'service', description: 'the name of a service' }]),
        ...idFaults(requestId),
      ])
      return { revision: await policies.delete(service) }
    },
  }
}

const idFaults = (requestId: string): FieldViolation[] =>
  REQUEST_ID.test(requestId)
    ? []
    : [{ field: 'request_id', description: 'at most 128 printable ASCII characters' }]

function demand(faults: readonly FieldViolation[]): void {
  if (faults.length > 0) throw invalidRequest(faults)
}
