import pc from 'picocolors'

export type Style = ReturnType<typeof pc.createColors>

export interface ColorChoice {
  readonly env: Readonly<Record<string, string | undefined>>
  /** False when the user said --no-color. */
  readonly color: boolean
}

/** Colours for a terminal that nobody asked to be without them (https://no-color.org). */
export const styleFor = (terminal: boolean, { env, color }: ColorChoice): Style =>
  pc.createColors(terminal && color && !env.NO_COLOR && env.TERM !== 'dumb')
