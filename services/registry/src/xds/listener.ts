import { Listener } from '@docmesh/contracts/envoy/config/listener/v3/listener'
import { Router } from '@docmesh/contracts/envoy/extensions/filters/http/router/v3/router'
import { HttpConnectionManager } from '@docmesh/contracts/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager'
import type { Any } from '@docmesh/contracts/google/protobuf/any'
import { any } from './any.ts'
import { ADS } from './cluster.ts'
import { FAULT_FILTER, faultConfig } from './fault.ts'

const FILTERS = 'type.googleapis.com/envoy.extensions.filters'

/**
 * What `xds:///SERVICE` dials: where its routes are, and the filters that calls go through. What faults there are is said
 * with the routes: grpc-js-xds 1.14 takes no notice of a listener that has changed until something else does.
 */
export function listener(service: string, { hasFaults }: { hasFaults: boolean }): Listener {
  const manager = HttpConnectionManager.fromPartial({
    routeSpecifier: { $case: 'rds', value: { configSource: ADS, routeConfigName: service } },
    httpFilters: [
      ...(hasFaults ? [filter(FAULT_FILTER, faultConfig(undefined))] : []),
      filter(
        'router',
        any(`${FILTERS}.http.router.v3.Router`, Router.encode(Router.fromPartial({})).finish()),
      ),
    ],
  })
  return Listener.fromPartial({
    name: service,
    apiListener: {
      apiListener: any(
        `${FILTERS}.network.http_connection_manager.v3.HttpConnectionManager`,
        HttpConnectionManager.encode(manager).finish(),
      ),
    },
  })
}

const filter = (name: string, typedConfig: Any) => ({
  name,
  configType: { $case: 'typedConfig' as const, value: typedConfig },
})
