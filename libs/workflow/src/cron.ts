import { Cron } from 'croner'

const ZONE = /^CRON_TZ=(\S+)\s+/

/**
 * First time after `after` of a schedule of five fields, in UTC or in the zone of `CRON_TZ=America/Sao_Paulo `.
 *
 * @throws RangeError when it cannot be read, or names no time that comes.
 */
export function nextTime(cron: string, after: Date): Date {
  const [prefix = '', timezone = 'UTC'] = ZONE.exec(cron) ?? []
  let next: Date | null
  try {
    const schedule = new Cron(cron.slice(prefix.length), { mode: '5-part', timezone, paused: true })
    if (schedule.getOnce()) throw new RangeError('it names one time')
    next = schedule.nextRun(after)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new RangeError(`"${cron}" is no schedule of five fields: ${why}`, { cause: error })
  }
  if (!next) throw new RangeError(`"${cron}" names no time that comes`)
  return next
}
