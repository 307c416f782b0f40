import type { CanonicalText, Span } from './canonical.ts'
import { headingLevel, isOn, type Style } from './docx-parts.ts'
import type { BlockKind, SignalKind } from './extracted.ts'
import type { XmlElement, XmlHandlers } from './xml.ts'

export interface BodyContext {
  readonly canonical: CanonicalText
  readonly styles: ReadonlyMap<string, Style>
  readonly label: (numId: string, depth: number) => string
  /** Taken out as they are met. */
  readonly comments: Map<string, string>
  /** Kind of every block, for headers and footers. */
  readonly kind?: BlockKind
}

interface Paragraph {
  text: string
  hidden: string
  style?: Style | undefined
  level?: number | undefined
  numId?: string
  depth?: number
  shaded: boolean
  endsPage: boolean
}

interface Run {
  vanish: boolean
  faint: boolean
  shaded: boolean
  text: string
}

interface Table {
  cells: string[]
  shaded: boolean
}

interface Change {
  readonly deleted: boolean
  readonly author: string
  text: string
}

/** Alternatives that repeat the text, and the properties as they were before a tracked change of format. */
const skipped =
  /^(?:Fallback|w:(?:p|r|sect|tbl|tr|tc|tblGrid|tblPrEx)PrChange|w:tblGridChange|w:numberingChange)$/
const activeField =
  /^\s*(?:DDE|DDEAUTO|INCLUDETEXT|INCLUDEPICTURE|LINK|IMPORT|DATABASE|MACROBUTTON|AUTOTEXT)\b/i
const controls = new Set(['w:dropDownList', 'w:comboBox', 'w:date', 'checkbox', 'w:ffData'])
/** Half points. */
const faintSize = 2

/** Turns WordprocessingML events of one part into blocks. */
export function bodyHandlers({ canonical, styles, label, comments, kind }: BodyContext): XmlHandlers {
  const paragraphs: Paragraph[] = []
  const runs: Run[] = []
  const tables: Table[] = []
  const changes: Change[] = []
  const path: string[] = []
  let pending: { kind: SignalKind; detail: string }[] = []
  let skipDepth = 0
  let field = ''
  let brokenPage = false

  const note = (signal: SignalKind, detail: string) => pending.push({ kind: signal, detail })
  const flush = (span: Span | undefined) => {
    for (const { kind: signal, detail } of pending) {
      canonical.signal(signal, detail, span ?? { page: canonical.page })
    }
    pending = []
  }

  function write(text: string) {
    const paragraph = paragraphs.at(-1)
    const change = changes.at(-1)
    if (!paragraph) return
    if (change) change.text += text
    if (change?.deleted) return
    const run = runs.at(-1)
    if (text.trim()) brokenPage = false
    if (run?.vanish) paragraph.hidden += text
    else paragraph.text += text
    if (run) run.text += text
  }

  /** Word notes the page breaks it rendered after those that were asked for: the same break counts once. */
  function breakPage(rendered: boolean) {
    const repeated = rendered && brokenPage
    brokenPage = !rendered
    const paragraph = paragraphs.at(-1)
    if (paragraph && !repeated && kind === undefined) paragraph.text += '\f'
  }

  function closeParagraph({ text, hidden, style, level = style?.level, ...own }: Paragraph) {
    if (hidden.trim()) note('hidden_text', `Text set as hidden: ${hidden.trim()}`)
    const table = tables.at(-1)
    const numId = own.numId ?? style?.numId
    const depth = own.depth ?? style?.depth ?? 0
    const numbered = numId !== undefined && numId !== '0' && text.trim() !== ''
    const mark = numbered ? label(numId, depth) : ''
    const shown = mark ? text.replace(/^\f*/, (breaks) => `${breaks}${mark} `) : text
    if (table) {
      const last = table.cells.length - 1
      if (last >= 0 && shown) table.cells[last] = table.cells[last] ? `${table.cells[last]} ${shown}` : shown
      return
    }
    if (kind) flush(canonical.add(kind, shown))
    else if (level !== undefined) flush(canonical.add('heading', shown, { level }))
    else if (numbered) flush(canonical.add('list_item', shown, { level: depth + 1 }))
    else flush(canonical.add('paragraph', shown))
    if (own.endsPage) {
      canonical.pageBreak()
      brokenPage = true
    }
  }

  function closeRow() {
    const cells = tables.at(-1)?.cells ?? []
    const outer = tables.at(-2)
    const last = (outer?.cells.length ?? 0) - 1
    if (outer && last >= 0) outer.cells[last] = [outer.cells[last], ...cells].filter(Boolean).join(' ')
    else flush(kind ? canonical.add(kind, cells.join(' ')) : canonical.addRow(cells))
  }

  function closeRun({ faint, shaded, text }: Run) {
    const isShaded = shaded || paragraphs.at(-1)?.shaded || tables.some((table) => table.shaded)
    if (faint && text.trim() && !isShaded) note('hidden_text', `White or tiny text: ${text.trim()}`)
  }

  function closeChange({ deleted, author, text }: Change) {
    if (text.trim())
      note('tracked_change', `${deleted ? 'Deleted' : 'Inserted'} by ${author}: ${text.trim()}`)
  }

  const noteField = (code: string) => {
    if (activeField.test(code)) note('external_reference', `Field that loads or runs: ${code.trim()}`)
  }

  function openProperty({ name, attributes }: XmlElement, paragraph: Paragraph | undefined) {
    const value = attributes.val ?? ''
    const run = path.includes('w:pPr') ? undefined : runs.at(-1)
    const color = /^(?:F{6}|white)$/i.test(value)
    if (name === 'w:shd' && /^(?!auto$|F{6}$)./i.test(attributes.fill ?? '')) shade()
    else if (name === 'w:highlight' && run) run.shaded = isOn(value)
    else if (name === 'w:vanish' && run) run.vanish = isOn(attributes.val)
    else if (name === 'w:rStyle' && run && styles.get(value)?.vanish) run.vanish = true
    else if (name === 'w:color' && run && color) run.faint = true
    else if (name === 'w:sz' && run && Number(value) <= faintSize) run.faint = true
    else if (!paragraph || !path.includes('w:pPr')) return
    else if (name === 'w:pStyle') paragraph.style = styles.get(value) ?? { ...levelOf(value) }
    else if (name === 'w:outlineLvl' && Number(value) < 9) paragraph.level = Number(value) + 1
    else if (name === 'w:numId') paragraph.numId = value
    else if (name === 'w:ilvl') paragraph.depth = Number(value)
    else if (name === 'w:pageBreakBefore' && isOn(attributes.val)) breakPage(false)
    else if (name === 'w:sectPr') paragraph.endsPage = true
    else if (name === 'w:type' && value === 'continuous') paragraph.endsPage = false
  }

  function shade() {
    const target = path.includes('w:tcPr') || path.includes('w:tblPr') ? tables.at(-1) : undefined
    const shaded = target ?? (path.includes('w:pPr') ? paragraphs.at(-1) : runs.at(-1))
    if (shaded) shaded.shaded = true
  }

  return {
    open(element) {
      const { name, attributes } = element
      if (skipDepth > 0 || skipped.test(name) || isSeparator(element)) {
        skipDepth++
        return
      }
      if (name === 'w:p') paragraphs.push({ text: '', hidden: '', shaded: false, endsPage: false })
      else if (name === 'w:r') {
        const vanish = paragraphs.at(-1)?.style?.vanish ?? false
        runs.push({ vanish, faint: false, shaded: false, text: '' })
      } else if (name === 'w:tbl') tables.push({ cells: [], shaded: false })
      else if (name === 'w:tr') Object.assign(tables.at(-1) ?? {}, { cells: [], shaded: false })
      else if (name === 'w:tc') {
        const table = tables.at(-1)
        table?.cells.push('')
        if (table) table.shaded = false
      } else if (/^w:(?:ins|del|moveFrom|moveTo)$/.test(name)) {
        const deleted = name === 'w:del' || name === 'w:moveFrom' || changes.some((change) => change.deleted)
        changes.push({ deleted, author: attributes.author ?? 'unknown', text: '' })
      } else if (name === 'w:tab' && path.at(-1) === 'w:r') write('\t')
      else if (name === 'w:cr') write('\n')
      else if (name === 'w:br') attributes.type === 'page' ? breakPage(false) : write('\n')
      else if (name === 'w:lastRenderedPageBreak') breakPage(true)
      else if (name === 'w:noBreakHyphen') write('-')
      else if (name === 'w:fldSimple') noteField(attributes.instr ?? '')
      else if (name === 'w:commentReference') {
        const id = attributes.id ?? ''
        const comment = comments.get(id)
        if (comment !== undefined) note('comment', comment)
        comments.delete(id)
      } else if (name === 'w:altChunk') note('embedded_file', 'A whole document is embedded (altChunk)')
      else if (controls.has(name)) note('form_field', name.replace('w:', ''))
      else openProperty(element, paragraphs.at(-1))
      path.push(name)
    },
    text(text) {
      if (skipDepth > 0) return
      const parent = path.at(-1)
      if (parent === 'w:t' || parent === 't' || parent === 'w:delText') write(text)
      else if (parent === 'w:instrText') field += text
    },
    close(name) {
      if (skipDepth > 0) {
        skipDepth--
        return
      }
      path.pop()
      if (name === 'w:p') {
        const paragraph = paragraphs.pop()
        if (field) noteField(field)
        field = ''
        if (paragraph) closeParagraph(paragraph)
      } else if (name === 'w:r') {
        const run = runs.pop()
        if (run) closeRun(run)
      } else if (name === 'w:tr') closeRow()
      else if (name === 'w:tbl') tables.pop()
      else if (/^w:(?:ins|del|moveFrom|moveTo)$/.test(name)) {
        const change = changes.pop()
        if (change) closeChange(change)
      }
    },
  }
}

const isSeparator = ({ name, attributes }: XmlElement) =>
  (name === 'w:footnote' || name === 'w:endnote') && attributes.type !== undefined

const levelOf = (styleId: string): Style => {
  const level = headingLevel(styleId)
  return level === undefined ? {} : { level }
}
