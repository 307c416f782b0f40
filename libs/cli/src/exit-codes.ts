/** What `docmesh` ends with. Of several files the highest code counts. */
export const EXIT = {
  ok: 0,
  belowThreshold: 1,
  usage: 2,
  document: 3,
  unreachable: 4,
  failed: 5,
  interrupted: 130,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export const EXIT_CODES_HELP = `
Exit codes:
  0    all went well
  1    with --fail-under: the score is lower, or the verdict is fail
  2    wrong usage: an option, an id or a rule pack that does not exist
  3    a document was refused or cannot be read
  4    the mesh cannot be reached
  5    an analysis failed, or an internal error
  130  interrupted
Of several files the highest code counts.`

export const worstOf = (codes: readonly ExitCode[]): ExitCode => codes.toSorted((a, b) => b - a)[0] ?? EXIT.ok
