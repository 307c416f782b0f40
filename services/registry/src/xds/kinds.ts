/** The four resource types, in the order in which changes are sent: what is referred to goes before what refers to it. */
export const KINDS = ['cluster', 'endpoint', 'listener', 'route'] as const

export type Kind = (typeof KINDS)[number]

export const TYPE_URLS: Readonly<Record<Kind, string>> = {
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoint: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
}

export const kindOf = (typeUrl: string): Kind | undefined => KINDS.find((kind) => TYPE_URLS[kind] === typeUrl)

/**
 * Whether a state-of-the-world response of this type carries all that is subscribed, so that what is missing from it is
 * gone. Only these types have a wildcard.
 */
export const isWhole = (kind: Kind): boolean => kind === 'cluster' || kind === 'listener'

export const byKind = <T>(make: (kind: Kind) => T): Readonly<Record<Kind, T>> => ({
  cluster: make('cluster'),
  endpoint: make('endpoint'),
  listener: make('listener'),
  route: make('route'),
})
