/**
 * Index of one of `weights`, chosen with a probability proportional to its weight: the one under `point × total` when
 * the weights are laid end to end (roulette wheel, or fitness proportionate selection).
 *
 * `point` is uniform in [0, 1): random, or the hash of a key for a choice that sticks to the key. Weights are finite and
 * not negative; only their proportions matter. Never the index of a zero weight; -1 when all are zero, or there is none.
 */
export function weightedChoice(weights: readonly number[], point: number): number {
  let rest = point * weights.reduce((sum, weight) => sum + weight, 0)
  let chosen = -1
  for (const [index, weight] of weights.entries()) {
    if (weight === 0) continue
    chosen = index
    if (rest < weight) break
    rest -= weight
  }
  // After rounding, `rest` may pass the last weight: then the last one that is not zero is meant.
  return chosen
}
