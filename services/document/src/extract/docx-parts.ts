import { posix } from 'node:path'
import { parseXml } from './xml.ts'
import type { Zip } from './zip.ts'

export interface Relationship {
  readonly id: string
  /** Last segment of the type's address: `header`, `hyperlink`, `officeDocument`. */
  readonly type: string
  readonly external: boolean
  /** Part name when internal. */
  readonly target: string
}

export interface Style {
  level?: number
  numId?: string
  depth?: number
  vanish?: boolean
  basedOn?: string
}

export interface ListLevel {
  start: number
  format: string
  text: string
}

export interface Numbering {
  readonly levels: ReadonlyMap<string, ReadonlyMap<number, ListLevel>>
  /** By numId. */
  readonly instances: ReadonlyMap<string, { abstract: string; restarts: Map<number, number> }>
}

/** Relationships of a part; those of the package for an empty name. */
export async function readRelationships(zip: Zip, part: string): Promise<Relationship[]> {
  const { dir, base } = posix.parse(part)
  const found: Relationship[] = []
  await parseXml(zip.read(posix.join(dir, '_rels', `${base}.rels`)), {
    open({ name, attributes: { Id: id = '', Type: type = '', Target: target = '', TargetMode: mode } }) {
      if (name !== 'Relationship') return
      const external = mode === 'External'
      const internal = target.startsWith('/') ? target.slice(1) : posix.join(dir, target)
      found.push({ id, type: posix.basename(type), external, target: external ? target : internal })
    },
  })
  return found
}

const headingName = /^(?:heading|t[ií]tulo|ttulo)\s*([1-9])$/i
const titleName = /^(?:title|t[ií]tulo|ttulo)$/i

/** Level by a style's id or name, in the languages Word writes them in for Portuguese and English. */
export function headingLevel(styleName: string): number | undefined {
  const numbered = headingName.exec(styleName)?.[1]
  if (numbered) return Number(numbered)
  return titleName.test(styleName) ? 1 : undefined
}

export const isOn = (value: string | undefined) => !/^(?:0|false|off|none)$/.test(value ?? '1')

export async function readStyles(zip: Zip, part: string | undefined): Promise<ReadonlyMap<string, Style>> {
  const styles = new Map<string, Style>()
  let style: Style = {}
  let isDefinition = false
  if (part) {
    await parseXml(zip.read(part), {
      open({ name, attributes }) {
        if (name === 'w:style') {
          isDefinition = true
          style = {}
          styles.set(attributes.styleId ?? '', style)
          return
        }
        const value = attributes.val
        if (!isDefinition) return
        if (name === 'w:name') Object.assign(style, defined('level', headingLevel(value ?? '')))
        else if (name === 'w:basedOn' && value) style.basedOn = value
        else if (name === 'w:outlineLvl' && Number(value) < 9) style.level = Number(value) + 1
        else if (name === 'w:numId' && value) style.numId = value
        else if (name === 'w:ilvl') style.depth = Number(value)
        else if (name === 'w:vanish') style.vanish = isOn(value)
      },
      close(name) {
        if (name === 'w:style') isDefinition = false
      },
    })
  }
  for (const [id, own] of styles) styles.set(id, inherit(own, styles))
  return styles
}

const defined = <K extends string, V>(key: K, value: V | undefined) =>
  value === undefined ? {} : { [key]: value }

/** Word itself has no style that inherits from more; a longer chain only costs time. */
const maxAncestors = 32

function inherit(own: Style, styles: ReadonlyMap<string, Style>): Style {
  const merged: Style = { ...own }
  const seen = new Set<Style>([own])
  for (let base = styles.get(own.basedOn ?? ''); base && !seen.has(base) && seen.size < maxAncestors; ) {
    seen.add(base)
    Object.assign(merged, { ...base, ...merged })
    base = styles.get(base.basedOn ?? '')
  }
  return merged
}

export async function readNumbering(zip: Zip, part: string | undefined): Promise<Numbering> {
  const levels = new Map<string, Map<number, ListLevel>>()
  const instances = new Map<string, { abstract: string; restarts: Map<number, number> }>()
  let abstract = new Map<number, ListLevel>()
  let level: ListLevel = { start: 1, format: 'decimal', text: '' }
  let instance = { abstract: '', restarts: new Map<number, number>() }
  let overridden = 0
  if (part) {
    await parseXml(zip.read(part), {
      open({ name, attributes }) {
        const value = attributes.val ?? ''
        if (name === 'w:abstractNum') {
          abstract = new Map()
          levels.set(attributes.abstractNumId ?? '', abstract)
        } else if (name === 'w:lvl') {
          level = { start: 1, format: 'decimal', text: '' }
          abstract.set(Number(attributes.ilvl), level)
        } else if (name === 'w:start') level.start = Number(value) || 0
        else if (name === 'w:numFmt') level.format = value
        else if (name === 'w:lvlText') level.text = value
        else if (name === 'w:num') {
          abstract = new Map()
          instance = { abstract: '', restarts: new Map() }
          instances.set(attributes.numId ?? '', instance)
        } else if (name === 'w:abstractNumId') instance.abstract = value
        else if (name === 'w:lvlOverride') overridden = Number(attributes.ilvl)
        else if (name === 'w:startOverride') instance.restarts.set(overridden, Number(value) || 0)
      },
    })
  }
  return { levels, instances }
}
