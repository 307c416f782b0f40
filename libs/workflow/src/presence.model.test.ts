import { expect, test } from 'vitest'

/**
 * The protocol of presence, take-over and fencing, explored exhaustively: every interleaving of nodes that claim, begin,
 * write, freeze, thaw, die, lose their connection, judge each other and take over. One transition here is one statement
 * or one transaction there. Breadth first over explicit states, as in G. J. Holzmann, "The Model Checker SPIN", IEEE
 * Trans. Software Eng. 23(5), 1997.
 */

/** The parts of the protocol, each of which a test may take away. */
interface Protocol {
  /** A write happens only while the run names the claim of the writer (runs.owner). */
  readonly fence: boolean
  /** An effect whose key is there is not done again (steps.effect). */
  readonly key: boolean
  /** To begin, a claim must still be the one that the engine gave last (Dispatches.holdClaim). */
  readonly beginChecksClaim: boolean
  /** The row of a dead node goes after its runs are recovered, not before. */
  readonly recoverFirst: boolean
  /** Runs in hand of executors without a row are recovered too. */
  readonly adoptUnknown: boolean
}

const PROTOCOL: Protocol = {
  fence: true,
  key: true,
  beginChecksClaim: true,
  recoverFirst: true,
  adoptUnknown: true,
}

const STEPS = 2

/** How far to explore. Claims are bounded so that the states are finite; the rest, so that they are few. */
interface Bounds {
  readonly nodes: number
  readonly claims: number
  readonly kills: number
  readonly freezes: number
  /** Connections lost by nodes that live. */
  readonly cuts: number
}

const PAIR: Bounds = { nodes: 2, claims: 3, kills: 1, freezes: 1, cuts: 0 }

interface Execution {
  readonly claim: number
  phase: 'claimed' | 'begun' | 'ended'
  /** The step it believes to be at, and whether the effect of that step is done as far as it knows. */
  step: number
  did: boolean
}

interface Sweep {
  readonly target: number
  phase: 'judged' | 'half'
  /** The heartbeat is still the one that was judged. */
  same: boolean
}

interface Node {
  life: 'alive' | 'frozen' | 'dead'
  row: boolean
  lock: boolean
  fresh: boolean
  executions: Execution[]
  sweep: Sweep | null
}

interface State {
  /** The dispatch as the engine has it. */
  engine: { status: 'queued' | 'claimed' | 'over'; executor: number; claim: number }
  run: { owner: number; step: number; effects: number[]; ended: boolean }
  nodes: Node[]
  claims: number
  /** The latest claim that has begun: who writes under an older one is a second writer. */
  latest: number
  freezes: number
  cuts: number
  broken: string | null
}

const initial = (nodes: number): State => ({
  engine: { status: 'queued', executor: -1, claim: 0 },
  run: { owner: 0, step: 0, effects: Array.from({ length: STEPS }, () => 0), ended: false },
  nodes: Array.from({ length: nodes }, () => ({
    life: 'alive',
    row: true,
    lock: true,
    fresh: true,
    executions: [],
    sweep: null,
  })),
  claims: 0,
  latest: 0,
  freezes: 0,
  cuts: 0,
  broken: null,
})

const clone = ({ engine, run, nodes, ...rest }: State): State => ({
  ...rest,
  engine: { ...engine },
  run: { ...run, effects: [...run.effects] },
  nodes: nodes.map(({ executions, sweep, ...node }) => ({
    ...node,
    executions: executions.map((execution) => ({ ...execution })),
    sweep: sweep && { ...sweep },
  })),
})

/** Tells states apart. Written by hand because it is most of the work. */
const keyOf = ({ engine, run, nodes, claims, latest, freezes, cuts, broken }: State): string => {
  let key = `${engine.status}${engine.executor}${engine.claim},${run.owner}${run.step}${run.ended}${run.effects},${claims}${latest}${freezes}${cuts}${broken}`
  for (const { life, row, lock, fresh, executions, sweep } of nodes) {
    key += `;${life}${row}${lock}${fresh}${sweep ? `${sweep.target}${sweep.phase}${sweep.same}` : ''}`
    for (const { claim, phase, step, did } of executions) key += `/${claim}${phase}${step}${did}`
  }
  return key
}

type Transition = readonly [name: string, apply: (state: State) => void]

function transitions(state: State, protocol: Protocol, bounds: Bounds): Transition[] {
  const found: Transition[] = []
  state.nodes.forEach((node, n) => {
    const on = (name: string, apply: (state: State, node: Node) => void): void => {
      found.push([`${name} ${n}`, (next) => apply(next, next.nodes[n] as Node)])
    }
    if (node.life !== 'dead' && state.nodes.filter(({ life }) => life === 'dead').length < bounds.kills) {
      on('kill', (_, self) => {
        Object.assign(self, { life: 'dead', lock: false, fresh: false, executions: [], sweep: null })
      })
    }
    if (node.life === 'frozen') {
      on('thaw', (_, self) => {
        self.life = 'alive'
      })
      if (node.fresh)
        on('heartbeat grows old', (_, self) => {
          self.fresh = false
        })
    }
    if (node.life !== 'alive') return
    if (state.freezes < bounds.freezes) {
      on('freeze', (next, self) => {
        self.life = 'frozen'
        next.freezes++
      })
    }
    if (state.cuts < bounds.cuts && node.lock) {
      on('lose the connection', (next, self) => {
        self.lock = false
        next.cuts++
      })
    }
    if (!node.row || !node.lock || !node.fresh) {
      on('heartbeat', (next, self) => {
        Object.assign(self, { row: true, lock: true, fresh: true })
        for (const { sweep } of next.nodes) if (sweep?.target === n) sweep.same = false
      })
    }
    if (state.engine.status === 'queued' && state.claims < bounds.claims) {
      on('claim', (next, self) => {
        next.claims++
        next.engine = { status: 'claimed', executor: n, claim: next.claims }
        self.executions.push({ claim: next.claims, phase: 'claimed', step: 0, did: false })
      })
    }
    node.executions.forEach((execution, index) => {
      executing(state, protocol, execution).forEach(([name, apply]) => {
        on(name, (next, self) => apply(next, self, index))
      })
    })
    sweeping(state, protocol, n).forEach(([name, apply]) => {
      on(name, apply)
    })
  })
  return found
}

type ExecutionMove = readonly [name: string, apply: (state: State, self: Node, index: number) => void]

/** What an execution does next. It hears of nothing: it learns only from the answers to its own writes. */
function executing(
  { run, engine }: State,
  protocol: Protocol,
  { claim, phase, step, did }: Execution,
): ExecutionMove[] {
  const end = (self: Node, index: number): void => void self.executions.splice(index, 1)
  const refused = protocol.fence && run.owner !== claim
  if (phase === 'claimed') {
    const stale = protocol.beginChecksClaim && !(engine.status === 'claimed' && engine.claim === claim)
    if (stale || run.ended) return [['is refused to begin', (_, self, index) => end(self, index)]]
    return [
      [
        'begin',
        (next, self, index) => {
          next.run.owner = claim
          next.latest = Math.max(next.latest, claim)
          Object.assign(self.executions[index] as Execution, { phase: 'begun', step: run.step })
        },
      ],
    ]
  }
  if (phase === 'ended') {
    return [
      [
        'end the dispatch',
        (next, self, index) => {
          if (engine.status === 'claimed' && engine.claim === claim) next.engine.status = 'over'
          end(self, index)
        },
      ],
    ]
  }
  if (refused) return [['is refused to write', (_, self, index) => end(self, index)]]
  const wrote = (next: State): void => {
    if (claim < next.latest)
      next.broken = `claim ${claim} writes step ${step} after claim ${next.latest} has begun`
  }
  if (!did) {
    return [
      [
        `effect of step ${step}`,
        (next, self, index) => {
          wrote(next)
          if (!protocol.key || next.run.effects[step] === 0)
            next.run.effects[step] = (next.run.effects[step] ?? 0) + 1
          if ((next.run.effects[step] ?? 0) > 1) next.broken ??= `the effect of step ${step} happened twice`
          ;(self.executions[index] as Execution).did = true
        },
      ],
    ]
  }
  return [
    [
      `checkpoint of step ${step}`,
      (next, self, index) => {
        wrote(next)
        next.run.step = Math.max(next.run.step, step + 1)
        const own = self.executions[index] as Execution
        if (step + 1 === STEPS) {
          Object.assign(next.run, { ended: true, owner: 0 })
          own.phase = 'ended'
        } else {
          Object.assign(own, { step: step + 1, did: false })
        }
      },
    ],
  ]
}

type NodeMove = readonly [name: string, apply: (state: State, self: Node) => void]

function sweeping({ engine, nodes }: State, { recoverFirst, adoptUnknown }: Protocol, n: number): NodeMove[] {
  const giveBack = (next: State, executor: number): void => {
    if (next.engine.status === 'claimed' && next.engine.executor === executor)
      next.engine = { status: 'queued', executor: -1, claim: 0 }
  }
  const sweep = nodes[n]?.sweep
  if (sweep) {
    const { target } = sweep
    const last = sweep.phase === 'half'
    const recovers = last !== recoverFirst
    return [
      [
        recovers ? `recover ${target}` : `remove ${target}`,
        (next, self) => {
          if (recovers) giveBack(next, target)
          else if (self.sweep?.same) (next.nodes[target] as Node).row = false
          if (last) self.sweep = null
          else if (self.sweep) self.sweep.phase = 'half'
        },
      ],
    ]
  }
  const moves: NodeMove[] = []
  nodes.forEach(({ row, lock, fresh }, target) => {
    if (target !== n && row && !(lock && fresh))
      moves.push([
        `judge ${target}`,
        (_, self) => {
          self.sweep = { target, phase: 'judged', same: true }
        },
      ])
  })
  const { status, executor } = engine
  if (adoptUnknown && status === 'claimed' && executor !== n && nodes[executor]?.row === false)
    moves.push([`adopt from ${executor}`, (next) => giveBack(next, executor)])
  return moves
}

interface Exploration {
  readonly states: number
  /** How the protocol breaks, shortest first. */
  readonly broken: { readonly what: string; readonly trace: readonly string[] } | undefined
  /** A state with a living node from which the run can never end. */
  readonly stuck: readonly string[] | undefined
  readonly completed: boolean
}

/** Every state that can be reached, and from which of them the end can. */
function explore(protocol: Protocol, bounds = PAIR): Exploration {
  const start = initial(bounds.nodes)
  const indexOf = new Map<string, number>([[keyOf(start), 0]])
  const states = [start]
  const from: { parent: number; name: string }[] = [{ parent: -1, name: 'start' }]
  const predecessors: number[][] = [[]]
  const goals: number[] = []
  let completed = false
  const traceTo = (index: number): string[] =>
    index < 0 ? [] : [...traceTo(from[index]?.parent ?? -1), from[index]?.name ?? '']

  for (let index = 0; index < states.length; index++) {
    const state = states[index] as State
    if (state.broken) {
      const broken = { what: state.broken, trace: traceTo(index) }
      return { states: states.length, broken, stuck: undefined, completed }
    }
    completed ||= state.run.ended
    // Where the bound on claims cuts the exploration off, nothing can be said about what comes after.
    if (state.run.ended || state.claims === bounds.claims) goals.push(index)
    // When nobody executes a run that has ended, nothing can happen to it any more.
    if (state.run.ended && state.nodes.every(({ executions }) => executions.length === 0)) continue
    for (const [name, apply] of transitions(state, protocol, bounds)) {
      const next = clone(state)
      apply(next)
      const key = keyOf(next)
      let seen = indexOf.get(key)
      if (seen === undefined) {
        seen = states.length
        indexOf.set(key, seen)
        states.push(next)
        from.push({ parent: index, name })
        predecessors.push([])
      }
      predecessors[seen]?.push(index)
    }
  }

  const reaches = new Set(goals)
  for (const index of reaches) for (const before of predecessors[index] ?? []) reaches.add(before)
  const stuck = states.findIndex((_, index) => !reaches.has(index))
  return {
    states: states.length,
    broken: undefined,
    stuck: stuck < 0 ? undefined : traceTo(stuck),
    completed,
  }
}

test.each<Bounds>([
  PAIR,
  { nodes: 2, claims: 2, kills: 1, freezes: 1, cuts: 1 },
  { nodes: 3, claims: 2, kills: 1, freezes: 1, cuts: 0 },
])(
  'no interleaving gives two writers, repeats an effect or loses the run: %o',
  (bounds) => {
    const { states, broken, stuck, completed } = explore(PROTOCOL, bounds)
    expect({ broken, stuck, completed }).toEqual({ broken: undefined, stuck: undefined, completed: true })
    expect(states).toBeGreaterThan(10_000)
  },
  60_000,
)

test('without the fence a zombie writes after its successor has begun', () => {
  const { broken } = explore({ ...PROTOCOL, fence: false })
  expect(broken?.what).toMatch(/^claim 1 writes step \d after claim 2 has begun$/)
})

test('the fence alone does not keep an effect from being repeated after its checkpoint was lost', () => {
  const { broken } = explore({ ...PROTOCOL, key: false })
  expect(broken?.what).toMatch(/happened twice$/)
})

test('a claim that need not be current to begin takes the run back from its successor', () => {
  const { broken } = explore({ ...PROTOCOL, beginChecksClaim: false })
  expect(broken?.what).toMatch(/^claim 1 writes step \d after claim 2 has begun$/)
})

test('a row that goes before its runs are recovered loses them, when nobody adopts runs of unknown executors', () => {
  expect(explore({ ...PROTOCOL, recoverFirst: false, adoptUnknown: false }).stuck).toBeDefined()
  expect(explore({ ...PROTOCOL, recoverFirst: false }).stuck).toBeUndefined()
})
