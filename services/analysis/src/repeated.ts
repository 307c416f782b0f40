const MAX_REPEATED = 255

/** A caller's words as an error may repeat them and still have room for what helps: a status has little. */
export const repeated = (text: string): string =>
  text.length <= MAX_REPEATED ? text : `${text.slice(0, MAX_REPEATED - 1).toWellFormed()}…`
