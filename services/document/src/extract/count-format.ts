const romans: readonly (readonly [number, string])[] = [
  [1000, 'M'],
  [900, 'CM'],
  [500, 'D'],
  [400, 'CD'],
  [100, 'C'],
  [90, 'XC'],
  [50, 'L'],
  [40, 'XL'],
  [10, 'X'],
  [9, 'IX'],
  [5, 'V'],
  [4, 'IV'],
  [1, 'I'],
]

/** Numbers past what Roman numerals and letters show sensibly stay decimal. */
const maxSpelled = 780

/** A list number in the formats of WordprocessingML (`lowerLetter`, `upperRoman`, …); unknown ones are decimal. */
export function formatCount(count: number, format: string): string {
  if (format === 'decimalZero') return String(count).padStart(2, '0')
  if (format === 'ordinal') return `${count}º`
  if (count < 1 || count > maxSpelled) return String(count)
  if (format === 'upperRoman') return roman(count)
  if (format === 'lowerRoman') return roman(count).toLowerCase()
  if (format === 'upperLetter') return letter(count)
  if (format === 'lowerLetter') return letter(count).toLowerCase()
  return String(count)
}

function roman(count: number): string {
  let rest = count
  let out = ''
  for (const [value, digits] of romans) {
    for (; rest >= value; rest -= value) out += digits
  }
  return out
}

/** Word repeats the letter after Z: AA, BB. */
function letter(count: number): string {
  return String.fromCharCode(65 + ((count - 1) % 26)).repeat(Math.ceil(count / 26))
}
