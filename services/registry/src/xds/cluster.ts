import {
  Cluster,
  Cluster_DiscoveryType,
  Cluster_LbPolicy,
  Cluster_RingHashLbConfig_HashFunction,
} from '@docmesh/contracts/envoy/config/cluster/v3/cluster'
import { OutlierDetection } from '@docmesh/contracts/envoy/config/cluster/v3/outlier_detection'
import { ApiVersion, ConfigSource } from '@docmesh/contracts/envoy/config/core/v3/config_source'
import { durationOf } from '@docmesh/rpc'

/** "Ask for it on this very stream." */
export const ADS = ConfigSource.fromPartial({
  configSourceSpecifier: { $case: 'ads', value: {} },
  resourceApiVersion: ApiVersion.V3,
})

/** Calls that may be in flight to one endpoint. */
const CALLS_PER_ENDPOINT = 1_024

/** Both clients refuse LEAST_REQUEST, so calls go round robin, or by the hash of a header when there is a header to hash. */
export function cluster(
  name: string,
  { endpoints, hashes }: { endpoints: number; hashes: boolean },
): Cluster {
  return Cluster.fromPartial({
    name,
    clusterDiscoveryType: { $case: 'type', value: Cluster_DiscoveryType.EDS },
    edsClusterConfig: { edsConfig: ADS, serviceName: name },
    lbPolicy: hashes ? Cluster_LbPolicy.RING_HASH : Cluster_LbPolicy.ROUND_ROBIN,
    lbConfig: hashes
      ? {
          $case: 'ringHashLbConfig',
          value: {
            hashFunction: Cluster_RingHashLbConfig_HashFunction.XX_HASH,
            minimumRingSize: 1_024n,
            maximumRingSize: 4_096n,
          },
        }
      : undefined,
    circuitBreakers: { thresholds: [{ maxRequests: CALLS_PER_ENDPOINT * Math.max(1, endpoints) }] },
    outlierDetection: outlierDetection(endpoints),
  })
}

/**
 * gRFC A50 with the figures of the native callers. Every field is written: grpc-js 1.14 ends its process over an absent
 * one, and over a minimum of 0 hosts. The consecutive rules are for Envoy; gRPC has none.
 */
function outlierDetection(endpoints: number): OutlierDetection {
  const minimumHosts = Math.min(5, Math.max(2, Math.ceil(endpoints / 2)))
  return OutlierDetection.fromPartial({
    interval: durationOf(10_000),
    baseEjectionTime: durationOf(30_000),
    maxEjectionTime: durationOf(300_000),
    maxEjectionPercent: maxEjectionPercent(endpoints),
    enforcingSuccessRate: 100,
    successRateMinimumHosts: minimumHosts,
    successRateRequestVolume: 100,
    successRateStdevFactor: 1_900,
    enforcingFailurePercentage: 100,
    failurePercentageThreshold: 85,
    failurePercentageMinimumHosts: minimumHosts,
    failurePercentageRequestVolume: 50,
    consecutive5xx: 5,
    enforcingConsecutive5xx: 100,
    consecutiveGatewayFailure: 5,
    enforcingConsecutiveGatewayFailure: 100,
  })
}

/**
 * Half of the endpoints, rounded down, at least one; from ten on 30 %. A client ejects while the share of the ejected is
 * below this percentage, so what stops it at k of n is k/n rounded down.
 */
function maxEjectionPercent(endpoints: number): number {
  if (endpoints >= 10) return 30
  const most = Math.max(1, Math.floor(endpoints / 2))
  return Math.floor((100 * most) / Math.max(2, endpoints))
}
