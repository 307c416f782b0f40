/**
 * Range check for options, done once, where the options are completed with their defaults.
 *
 * It takes the options by shorthand (`checkRange({ openMs, maxOpenMs }, 1, 3_600_000)`), so that the name in the
 * message is the name in the code and cannot drift from it. `whole` also demands an integer. NaN is never in range.
 *
 * @throws RangeError naming the option, its value and the bounds.
 */
export function checkRange(
  options: Readonly<Record<string, number>>,
  min: number,
  max: number,
  { whole = false } = {},
): void {
  for (const [name, value] of Object.entries(options)) {
    if (value >= min && value <= max && (!whole || Number.isInteger(value))) continue
    const kind = whole ? 'a whole number' : 'a number'
    throw new RangeError(`${name} is ${value}: it must be ${kind} between ${min} and ${max}`)
  }
}

/** The longest delay that any back-off here may be asked for. */
export const DAY_MS = 86_400_000
