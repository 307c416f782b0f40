import { type Duration, msOf } from '@docmesh/rpc'

/** Control characters, and those that turn the direction of writing: a document must not command the terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it removes
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]+/g

/** Text of others on one line, harmless to a terminal. */
export const plain = (text: string): string => text.replace(UNPRINTABLE, ' ').replace(/\s+/g, ' ').trim()

export const truncated = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, Math.max(0, length - 1)).trimEnd()}…`

/** Breaks text into lines of at most `width`, `indent` before each; a longer word stays whole. */
export function wrapped(text: string, width: number, indent: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of plain(text).split(' ')) {
    if (line && indent.length + line.length + 1 + word.length > width) {
      lines.push(indent + line)
      line = word
    } else line = line ? `${line} ${word}` : word
  }
  return line ? [...lines, indent + line] : lines
}

/** `850 ms`, `12 s`, `3 min 05 s`, `2 h 10 min`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  const seconds = Math.floor(ms / 1_000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/** `812 B`, `1.4 MB`; powers of 1,000. */
export function sizeText(bytes: number | bigint): string {
  let value = Number(bytes)
  let unit = 0
  for (; value >= 1_000 && unit < UNITS.length - 1; unit++) value /= 1_000
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`
}

/** `2026-11-21 04:05:06`, UTC. */
export const timeText = (time: Date | undefined): string =>
  time ? time.toISOString().slice(0, 19).replace('T', ' ') : '-'

export const durationMs = (duration: Duration | undefined): number | undefined => duration && msOf(duration)
