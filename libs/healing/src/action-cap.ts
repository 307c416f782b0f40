import { checkRange } from '@docmesh/resilience'

export interface ActionCapOptions {
  /** Most actions on one target in any window. Default 6, 1 to 1,000. */
  readonly perTarget?: number
  /** Most actions in all in any window. Default 20, 1 to 10,000. */
  readonly inAll?: number
  /** Default one hour, 1 ms to one day. */
  readonly windowMs?: number
}

export interface ActionCap {
  /** Counts one action on `target`, if it is still allowed. */
  take(target: string): boolean
  readonly windowMs: number
}

/**
 * An exact sliding window: no interval of `windowMs`, wherever it begins, has more actions than allowed. It keeps the
 * time of each action, at most `inAll` of them.
 *
 * @throws RangeError if an option is out of range.
 */
export function createActionCap(
  { perTarget = 6, inAll = 20, windowMs = 3_600_000 }: ActionCapOptions,
  now: () => number,
): ActionCap {
  checkRange({ perTarget }, 1, 1_000, { whole: true })
  checkRange({ inAll }, 1, 10_000, { whole: true })
  checkRange({ windowMs }, 1, 86_400_000)
  let taken: { readonly target: string; readonly atMs: number }[] = []
  return {
    take(target) {
      const atMs = now()
      taken = taken.filter((each) => atMs - each.atMs < windowMs)
      const onTarget = taken.filter((each) => each.target === target).length
      if (onTarget >= perTarget || taken.length >= inAll) return false
      taken.push({ target, atMs })
      return true
    },
    windowMs,
  }
}
