import type { CanonicalText } from './canonical.ts'
import type { PdfObjects } from './pdf-objects.ts'
import type { Pdfium } from './pdfium.ts'

const annotation = { text: 1, link: 2, freeText: 3, fileAttachment: 17, widget: 20 } as const
const launchAction = 4
const remoteGoToAction = 2
const maxPerPage = 1_000

/** Scripts, actions, attached files and signatures of the document. */
export function signalDocument(
  pdfium: Pdfium,
  document: number,
  objects: PdfObjects,
  canonical: CanonicalText,
): void {
  const { native } = pdfium
  const scripts = native.FPDFDoc_GetJavaScriptActionCount(document)
  for (let index = 0; index < scripts; index++) {
    const script = native.FPDFDoc_GetJavaScriptAction(document, index)
    if (script === 0) continue
    const code = pdfium.utf16((buffer, size) => native.FPDFJavaScriptAction_GetScript(script, buffer, size))
    const name = pdfium.utf16((buffer, size) => native.FPDFJavaScriptAction_GetName(script, buffer, size))
    canonical.signal('javascript', `${name}: ${code}`)
    native.FPDFDoc_CloseJavaScriptAction(script)
  }
  if (scripts <= 0 && objects.has('JavaScript')) canonical.signal('javascript', 'Script in an action')
  const open = objects.openAction()
  if (open) canonical.signal('open_action', `Runs when opened: ${open}`)
  for (const name of ['Launch', 'SubmitForm', 'ImportData']) {
    if (objects.has(name)) canonical.signal('open_action', `Has an action: ${name}`)
  }

  const files = native.FPDFDoc_GetAttachmentCount(document)
  for (let index = 0; index < files; index++) {
    const file = native.FPDFDoc_GetAttachment(document, index)
    const name = pdfium.utf16((buffer, size) => native.FPDFAttachment_GetName(file, buffer, size))
    canonical.signal('embedded_file', name || 'unnamed file')
  }
  if (files <= 0 && objects.has('EmbeddedFile'))
    canonical.signal('embedded_file', 'File inside an annotation')
  if (objects.has('XFA')) canonical.signal('form_field', 'XFA form: what it shows is not in the text')
  signalSignatures(pdfium, document, canonical)
}

function signalSignatures(pdfium: Pdfium, document: number, canonical: CanonicalText): void {
  const { native } = pdfium
  for (let index = 0; index < native.FPDF_GetSignatureCount(document); index++) {
    const signature = native.FPDF_GetSignatureObject(document, index)
    const signed = native.FPDFSignatureObj_GetContents(signature, 0, 0) > 0
    const time = pdfium.latin1((buffer, size) => native.FPDFSignatureObj_GetTime(signature, buffer, size))
    const reason = pdfium.utf16((buffer, size) => native.FPDFSignatureObj_GetReason(signature, buffer, size))
    canonical.signal('signature', signed ? `Signed ${time} ${reason}` : 'Signature field, not signed')
  }
}

/** `form` is 0 in a document without a form. */
export interface OpenDocument {
  readonly document: number
  readonly form: number
}

/** Signals links, comments and form fields of a page; tells whether some of them show text of their own. */
export function signalPage(
  pdfium: Pdfium,
  { document, form }: OpenDocument,
  page: number,
  number: number,
  canonical: CanonicalText,
): boolean {
  const { native } = pdfium
  const where = { page: number }
  let showsText = false
  const count = Math.min(maxPerPage, native.FPDFPage_GetAnnotCount(page))
  for (let index = 0; index < count; index++) {
    const annot = native.FPDFPage_GetAnnot(page, index)
    if (annot === 0) continue
    const subtype = native.FPDFAnnot_GetSubtype(annot)
    const value = (key: string) =>
      pdfium.withCString(key, (name) =>
        pdfium.utf16((buffer, size) => native.FPDFAnnot_GetStringValue(annot, name, buffer, size)),
      )
    if (subtype === annotation.link) {
      const target = linkTarget(pdfium, document, annot)
      if (target) canonical.signal('external_reference', target, where)
    } else if (subtype === annotation.widget && form !== 0) {
      const name = pdfium.utf16((buffer, size) =>
        native.FPDFAnnot_GetFormFieldName(form, annot, buffer, size),
      )
      const filled = pdfium.utf16((buffer, size) =>
        native.FPDFAnnot_GetFormFieldValue(form, annot, buffer, size),
      )
      canonical.signal('form_field', filled ? `${name} = ${filled}` : `${name} (empty)`, where)
    } else if (subtype === annotation.fileAttachment) {
      canonical.signal('embedded_file', `Attached to the page: ${value('Contents')}`, where)
    } else if (subtype === annotation.text || subtype === annotation.freeText) {
      canonical.signal('comment', `${value('T')}: ${value('Contents')}`, where)
    }
    showsText ||= subtype === annotation.widget || subtype === annotation.freeText
    native.FPDFPage_CloseAnnot(annot)
  }
  return showsText
}

const formInfoBytes = 256

/** Field names and values need a form environment; without callbacks and scripts it only reads. */
export function withForm<T>(pdfium: Pdfium, document: number, use: (form: number) => T): T {
  const { native } = pdfium
  if (native.FPDF_GetFormType(document) <= 0) return use(0)
  const info = new Uint8Array(formInfoBytes)
  info[0] = 2
  return pdfium.withBytes(info, (pointer) => {
    const form = native.FPDFDOC_InitFormFillEnvironment(document, pointer)
    try {
      return use(form)
    } finally {
      if (form !== 0) native.FPDFDOC_ExitFormFillEnvironment(form)
    }
  })
}

function linkTarget(pdfium: Pdfium, document: number, annot: number): string | undefined {
  const { native } = pdfium
  const link = native.FPDFAnnot_GetLink(annot)
  const action = link === 0 ? 0 : native.FPDFLink_GetAction(link)
  if (action === 0) return undefined
  const uri = pdfium.latin1((buffer, size) => native.FPDFAction_GetURIPath(document, action, buffer, size))
  if (uri) return `hyperlink: ${uri}`
  const type = native.FPDFAction_GetType(action)
  if (type !== launchAction && type !== remoteGoToAction) return undefined
  return `file: ${pdfium.latin1((buffer, size) => native.FPDFAction_GetFilePath(action, buffer, size))}`
}
