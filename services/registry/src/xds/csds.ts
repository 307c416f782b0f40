import { ClientResourceStatus } from '@docmesh/contracts/envoy/admin/v3/config_dump_shared'
import {
  type ClientConfig,
  ClientConfig_GenericXdsConfig,
  type ClientStatusDiscoveryServiceDefinition,
  type ClientStatusRequest,
  type ClientStatusResponse,
  ConfigStatus,
} from '@docmesh/contracts/envoy/service/status/v3/csds'
import { type Handlers, invalidRequest } from '@docmesh/rpc'
import { TYPE_URLS } from './kinds.ts'
import type { Session } from './session.ts'
import type { Held } from './subscription.ts'

type Clients = ReadonlySet<Pick<Session<never, unknown>, 'node' | 'subscriptions'>>

/** What each connected client holds, as far as this replica has told it: names and versions, not the resources themselves. */
export function statusHandlers(clients: Clients): Handlers<typeof ClientStatusDiscoveryServiceDefinition> {
  function status({ nodeMatchers }: ClientStatusRequest): ClientStatusResponse {
    if (nodeMatchers.length > 0) {
      throw invalidRequest([
        { field: 'node_matchers', description: 'leave it empty: every connected client is listed' },
      ])
    }
    return { config: [...clients].map(clientConfig) }
  }
  return {
    async *streamClientStatus(requests) {
      for await (const request of requests) yield status(request)
    },
    fetchClientStatus: async (request) => status(request),
  }
}

const clientConfig = ({
  node,
  subscriptions,
}: Pick<Session<never, unknown>, 'node' | 'subscriptions'>): ClientConfig => ({
  node: node(),
  genericXdsConfigs: [...subscriptions].flatMap(([kind, { names, held }]) =>
    [...new Set([...names, ...held.keys()])].map((name) =>
      ClientConfig_GenericXdsConfig.fromPartial({
        typeUrl: TYPE_URLS[kind],
        name,
        ...heldConfig(held.get(name)),
      }),
    ),
  ),
})

function heldConfig(held: Held | undefined): Partial<ClientConfig_GenericXdsConfig> {
  if (!held) return { configStatus: ConfigStatus.NOT_SENT, clientStatus: ClientResourceStatus.REQUESTED }
  const { version = '', at: lastUpdated, error, state, resource } = held
  const told = { versionInfo: version, lastUpdated }
  if (held.version === undefined || resource?.exists === false) {
    return { ...told, configStatus: ConfigStatus.SYNCED, clientStatus: ClientResourceStatus.DOES_NOT_EXIST }
  }
  switch (state) {
    case 'sent':
      return { ...told, configStatus: ConfigStatus.STALE, clientStatus: ClientResourceStatus.REQUESTED }
    case 'acked':
      return { ...told, configStatus: ConfigStatus.SYNCED, clientStatus: ClientResourceStatus.ACKED }
    case 'nacked':
      return {
        lastUpdated,
        configStatus: ConfigStatus.ERROR,
        clientStatus: ClientResourceStatus.NACKED,
        errorState: { lastUpdateAttempt: lastUpdated, details: error, versionInfo: version },
      }
  }
}
