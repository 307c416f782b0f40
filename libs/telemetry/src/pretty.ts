/** Turns one JSON line of the logger into `12:34:56.789 INFO service message key=value`, stacks below it. */
export function prettyLine(line: string): string {
  const { time, level, service, version: _version, msg = '', err, ...fields } = JSON.parse(line)
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${plain(value)}`)
  const head = `${time.slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${service} ${msg}${pairs.join('')}\n`
  return head + stacks(err)
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function stacks(err: unknown): string {
  if (err === undefined) return ''
  const { stack = plain(err), cause } = (err ?? {}) as { stack?: string; cause?: unknown }
  return `  ${stack.replaceAll('\n', '\n  ')}\n${cause === undefined ? '' : `  caused by\n${stacks(cause)}`}`
}
