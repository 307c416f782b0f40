/**
 * Aho, A. V. and Corasick, M. J., "Efficient string matching: an aid to bibliographic search",
 * Communications of the ACM 18 (6), 1975. Dense transition table over the units that occur in the patterns.
 */
export interface Automaton {
  readonly patterns: readonly string[]
  /** Calls `visit` for every occurrence, overlapping ones included, ordered by end. */
  scan(text: string, visit: (pattern: number, start: number, end: number) => void): void
}

const NONE = -1

export const buildAutomaton = (source: Iterable<string>): Automaton => {
  const patterns = [...new Set(source)].filter((pattern) => pattern.length > 0)
  const classOf = new Uint16Array(0x10000)
  let classes = 1
  let most = 1
  for (const pattern of patterns) {
    most += pattern.length
    for (let index = 0; index < pattern.length; index++) {
      const unit = pattern.charCodeAt(index)
      if (classOf[unit] === 0) classOf[unit] = classes++
    }
  }

  const next = new Int32Array(most * classes).fill(NONE)
  const found = new Int32Array(most).fill(NONE)
  let states = 1
  patterns.forEach((pattern, id) => {
    let state = 0
    for (let index = 0; index < pattern.length; index++) {
      const edge = state * classes + (classOf[pattern.charCodeAt(index)] ?? 0)
      if (next[edge] === NONE) next[edge] = states++
      state = next[edge] ?? 0
    }
    found[state] = id
  })

  const fail = new Int32Array(states)
  const shorter = new Int32Array(states).fill(NONE)
  const queue = [0]
  for (const state of queue) {
    for (let cls = 0; cls < classes; cls++) {
      const edge = state * classes + cls
      const fallback = state === 0 ? 0 : (next[(fail[state] ?? 0) * classes + cls] ?? 0)
      const child = next[edge] ?? NONE
      if (child === NONE) {
        next[edge] = fallback
        continue
      }
      fail[child] = fallback
      shorter[child] = (found[fallback] ?? NONE) === NONE ? (shorter[fallback] ?? NONE) : fallback
      queue.push(child)
    }
  }

  const scan: Automaton['scan'] = (text, visit) => {
    let state = 0
    for (let index = 0; index < text.length; index++) {
      state = next[state * classes + (classOf[text.charCodeAt(index)] ?? 0)] ?? 0
      for (let at = state; at !== NONE; at = shorter[at] ?? NONE) {
        const id = found[at] ?? NONE
        if (id !== NONE) visit(id, index + 1 - (patterns[id]?.length ?? 0), index + 1)
      }
    }
  }
  return { patterns, scan }
}
