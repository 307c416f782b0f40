/** The arithmetic of a pipeline: order, readiness, what to take back, what to do again, how far. No I/O. */

export interface Node {
  readonly name: string
  readonly after: readonly string[]
}

/**
 * Topological order (A. B. Kahn, "Topological sorting of large networks", CACM 5(11), 1962); of several steps that could
 * come next, the one declared first does.
 *
 * @throws RangeError on a name used twice, an unknown dependency or a circle.
 */
export function sortSteps<Step extends Node>(steps: readonly Step[]): Step[] {
  const names = new Set(steps.map(({ name }) => name))
  if (names.size < steps.length) throw new RangeError('two steps have one name')
  for (const { name, after } of steps)
    for (const other of after)
      if (!names.has(other)) throw new RangeError(`step ${name} comes after ${other}, which does not exist`)
  const sorted: Step[] = []
  const placed = new Set<string>()
  while (sorted.length < steps.length) {
    const next = steps.find(
      ({ name, after }) => !placed.has(name) && after.every((other) => placed.has(other)),
    )
    if (!next) {
      const circle = steps.filter(({ name }) => !placed.has(name)).map(({ name }) => name)
      throw new RangeError(`steps ${circle.join(', ')} wait for each other`)
    }
    sorted.push(next)
    placed.add(next.name)
  }
  return sorted
}

/** Steps whose dependencies have ended and that have not been begun themselves. */
export const readySteps = <Step extends Node>(
  steps: readonly Step[],
  ended: ReadonlySet<string>,
  begun: ReadonlySet<string>,
): Step[] =>
  steps.filter(
    ({ name, after }) => !ended.has(name) && !begun.has(name) && after.every((other) => ended.has(other)),
  )

/** The given steps and all that come after them, directly or not. */
export function withDescendants(steps: readonly Node[], names: Iterable<string>): Set<string> {
  const found = new Set(names)
  for (const { name, after } of sortSteps(steps)) if (after.some((other) => found.has(other))) found.add(name)
  return found
}

/** Completed steps that have a compensation, the latest first. */
export const stepsToUndo = <Step extends Node & { readonly compensate: unknown }>(
  steps: readonly Step[],
  completed: ReadonlySet<string>,
): Step[] =>
  sortSteps(steps)
    .filter(({ name, compensate }) => compensate && completed.has(name))
    .reverse()

/** Percent of the weight that is done; 100 only when everything is. */
export function progressOf(
  steps: readonly { readonly name: string; readonly weight: number }[],
  ended: ReadonlySet<string>,
  mediansMs: ReadonlyMap<string, number>,
): number {
  // Once every step has history its real share counts; the 1 ms keeps steps that take no time from weighing nothing.
  const known = steps.every(({ name }) => mediansMs.has(name))
  const weightOf = (step: (typeof steps)[number]): number =>
    known ? (mediansMs.get(step.name) ?? 0) + 1 : step.weight
  let done = 0
  let total = 0
  for (const step of steps) {
    total += weightOf(step)
    if (ended.has(step.name)) done += weightOf(step)
  }
  return ended.size >= steps.length ? 100 : Math.min(99, Math.floor((100 * done) / total))
}
