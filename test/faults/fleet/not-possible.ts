/** This machine lacks what a scenario needs, or refuses it: the scenario is skipped and says why. */
export class NotPossible extends Error {
  override readonly name = 'NotPossible'
}
