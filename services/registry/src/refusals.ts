// Why the registry refuses.
import { invalidRequest, rpcError } from '@docmesh/rpc'

export const staleIncarnation = (instanceId: string, newest: bigint) =>
  rpcError('STALE_INCARNATION', `Instance ${instanceId} is used by a newer process.`, {
    metadata: { incarnation: String(newest) },
  })

export const instanceNotFound = (instanceId: string) =>
  rpcError('INSTANCE_NOT_FOUND', `No instance ${instanceId} is registered: register again.`, {
    resource: { type: 'instance', name: instanceId },
  })

export const instanceExists = (instanceId: string) =>
  rpcError('INSTANCE_EXISTS', `Instance ${instanceId} is in use by a process that is connected.`, {
    resource: { type: 'instance', name: instanceId },
  })

export const leaseMismatch = (instanceId: string) =>
  rpcError('LEASE_MISMATCH', `The lease of instance ${instanceId} was granted to somebody else.`, {
    resource: { type: 'instance', name: instanceId },
  })

export const superseded = () => rpcError('CANCELLED', 'The instance holds its lease on a newer stream.')

export const wrongInstance = (instanceId: string) =>
  invalidRequest([{ field: 'registration.instance_id', description: `this stream is that of ${instanceId}` }])
