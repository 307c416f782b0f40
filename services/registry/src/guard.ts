export interface ExpiryGuardOptions {
  /** Leases that run out within this time are one event. */
  readonly windowMs: number
  /** More than this share of the leases is too many to be believed. Default 0.15. */
  readonly share?: number
  /** Fewer than this are believed in a mesh of any size. Default 3. */
  readonly minimum?: number
}

export interface ExpiryGuard {
  /**
   * `lapsed` of `listed` leases have run out and are not delisted yet. True while none may be. Changes only here, so
   * that it can be told of.
   */
  judge(now: number, lapsed: number, listed: number): boolean
  /** One was delisted for its lease. */
  delisted(now: number): void
  active(): boolean
}

/**
 * Self-preservation as in Netflix Eureka (github.com/Netflix/eureka/wiki/Understanding-eureka-client-server-communication):
 * when more than 15 % of the leases run out together, it is likelier that the registry is cut off than that so many
 * processes died, so none is delisted until the share is lower again: because they renew, or because others join.
 * Counted are the leases that wait to be delisted and those that were within the window: cut off instances run out one
 * after the other, not together. Eureka's rule alone would keep every dead instance of a mesh of six; here two are
 * believed in any mesh, because each service keeps its last instance whatever happens.
 */
export function createExpiryGuard({ windowMs, share = 0.15, minimum = 3 }: ExpiryGuardOptions): ExpiryGuard {
  const recent: number[] = []
  let active = false
  return {
    judge(now, lapsed, listed) {
      while (recent[0] !== undefined && recent[0] <= now - windowMs) recent.shift()
      const count = lapsed + recent.length
      active = lapsed > 0 && count >= minimum && count > share * (listed + recent.length)
      return active
    },
    delisted: (now) => void recent.push(now),
    active: () => active,
  }
}
