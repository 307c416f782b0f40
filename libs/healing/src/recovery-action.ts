/** Something that may mend a target. */
export interface RecoveryAction {
  readonly name: string
  /** Resolves with what was done, for people; rejects when it could not be done. */
  execute(target: string, signal: AbortSignal): Promise<string>
  /** Takes back what `execute` did or half did. */
  rollback?(target: string, signal: AbortSignal): Promise<void>
  /** A success is rolled back when its check has passed for this long; not set keeps it. */
  readonly undoAfterMs?: number
}
