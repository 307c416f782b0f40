/**
 * The two limits that keep ejection from emptying a cluster, as functions of its size alone.
 *
 * When many endpoints look bad at once the observer, the network or the load is the likelier cause, and sending
 * everything to the few that are left finishes them off.
 */

/**
 * How many of `endpoints` may be ejected at the same time: `max(1, floor(n / 2))` below ten, else 30 %.
 *
 * A percentage alone rounds to nothing in a cluster of two or three; Envoy and grpc-java make the same exception and
 * always allow one. It is not monotonic on purpose: nine endpoints may lose four, ten lose three, because a larger
 * cluster that loses half has a common cause.
 */
export function maxEjected(endpoints: number): number {
  return endpoints < 10 ? Math.max(1, Math.floor(endpoints / 2)) : Math.floor((endpoints * 3) / 10)
}

/** Whether fewer than half of the endpoints are available, so that health is ignored (Envoy's panic threshold). */
export function inPanic(available: number, endpoints: number): boolean {
  return available * 2 < endpoints
}
