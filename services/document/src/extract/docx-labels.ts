import { formatCount } from './count-format.ts'
import type { Numbering } from './docx-parts.ts'

/** Returns the label Word shows before a numbered paragraph ("2.1", "a)"), counting as it goes; '' for bullets. */
export function createLabels({ levels, instances }: Numbering): (numId: string, depth: number) => string {
  const counters = new Map<string, number[]>()
  const started = new Set<string>()
  return (numId, depth) => {
    const instance = instances.get(numId)
    const list = levels.get(instance?.abstract ?? '')
    const level = list?.get(depth)
    if (!instance || !list || !level) return ''
    const counts = counters.get(instance.abstract) ?? []
    counters.set(instance.abstract, counts)
    const restart = started.has(`${numId}:${depth}`) ? undefined : instance.restarts.get(depth)
    started.add(`${numId}:${depth}`)
    const previous = counts[depth]
    counts[depth] = restart ?? (previous === undefined ? level.start : previous + 1)
    counts.length = depth + 1
    if (level.format === 'bullet' || level.format === 'none') return ''
    return level.text.replace(/%([1-9])/g, (_, digit: string) => {
      const at = Number(digit) - 1
      const shown = list.get(at)
      return formatCount(counts[at] ?? shown?.start ?? 1, shown?.format ?? 'decimal')
    })
  }
}
