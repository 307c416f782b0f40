import type { DefaultTreeAdapterTypes as Tree } from 'parse5'
import type { SignalKind } from './extracted.ts'

export interface ElementFacts {
  readonly tag: string
  readonly attributes: ReadonlyMap<string, string>
  readonly isBlock: boolean
  /** No text of it is ever shown. */
  readonly ignored: boolean
  readonly hidden: boolean
  readonly signals: readonly (readonly [SignalKind, string])[]
}

const names = (list: string) => new Set(list.split(' '))
const blocks = names(
  'address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure ' +
    'footer form h1 h2 h3 h4 h5 h6 header hr html legend li main menu nav ol p pre section summary table tbody ' +
    'tfoot thead tr ul td th',
)
const ignored = names('script style template noscript title datalist select object embed iframe audio video')
const loaders = names('img iframe script link object embed video audio source form input track base')
const hidingStyle =
  /(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0*(?:\.0*)?\s*(?:;|$|!)|font-size\s*:\s*0*(?:\.0*)?(?:px|pt|em|rem|%)?\s*(?:;|$|!)|(?:left|top|text-indent)\s*:\s*-\d{3,})/i
const remote = /^\s*(?:https?:|ftp:|file:|\/\/)/i

/** What one element means for the text, whatever is around it. */
export function elementFacts({ tagName: tag, attrs }: Tree.Element): ElementFacts {
  const attributes = new Map(attrs.map(({ name, value }) => [name, value]))
  const hidden =
    (attributes.has('hidden') && attributes.get('hidden') !== 'until-found') ||
    hidingStyle.test(attributes.get('style') ?? '') ||
    (tag === 'dialog' && !attributes.has('open'))
  return {
    tag,
    attributes,
    hidden,
    isBlock: blocks.has(tag),
    ignored: ignored.has(tag),
    signals: elementSignals(tag, attributes),
  }
}

function elementSignals(tag: string, attributes: ReadonlyMap<string, string>): [SignalKind, string][] {
  const found: [SignalKind, string][] = []
  if (tag === 'script') found.push(['javascript', `<script> ${attributes.get('src') ?? 'inline'}`])
  for (const [name, value] of attributes) {
    if (/^on[a-z]+$/.test(name) || /^\s*javascript:/i.test(value)) {
      found.push(['javascript', `${name} of <${tag}>: ${value}`])
    }
  }
  for (const name of ['src', 'href', 'data', 'action']) {
    const value = attributes.get(name) ?? ''
    if (tag === 'a' && name === 'href' && remote.test(value))
      found.push(['external_reference', `hyperlink: ${value}`])
    else if (loaders.has(tag) && remote.test(value)) found.push(['external_reference', `<${tag}>: ${value}`])
    else if (/^(?:iframe|object|embed)$/.test(tag) && /^\s*data:/i.test(value)) {
      found.push(['embedded_file', `<${tag}> with its own data`])
    }
  }
  if (tag === 'meta' && attributes.get('http-equiv')?.toLowerCase() === 'refresh') {
    found.push(['open_action', `refresh: ${attributes.get('content') ?? ''}`])
  }
  if (/^(?:input|select|textarea)$/.test(tag) && attributes.get('type') !== 'hidden') {
    found.push(['form_field', attributes.get('name') ?? tag])
  }
  return found
}
