import { createHash } from 'node:crypto'
import type { Claimed } from '../model.ts'

/** By what a pager knows what belongs together: the incident, else this delivery and its repeats. */
export function alertKey({ id, incident }: Pick<Claimed, 'id' | 'incident'>, maxLength: number): string {
  const key = `docmesh:${incident || id}`
  return key.length <= maxLength ? key : `docmesh:${createHash('sha256').update(key).digest('hex')}`
}
