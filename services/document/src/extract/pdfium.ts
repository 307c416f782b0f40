import { PDFiumModule } from '@hyzyla/pdfium'

type Call = (...args: number[]) => number

/** The part of PDFium's C interface that is used; the package's own classes stop at plain text. */
interface Native {
  readonly malloc: Call
  readonly free: Call
  readonly FPDF_InitLibrary: Call
  readonly FPDF_LoadMemDocument: Call
  readonly FPDF_GetLastError: Call
  readonly FPDF_CloseDocument: Call
  readonly FPDF_DocumentHasValidCrossReferenceTable: Call
  readonly FPDF_GetMetaText: Call
  readonly FPDF_GetPageCount: Call
  readonly FPDF_GetSignatureCount: Call
  readonly FPDF_GetSignatureObject: Call
  readonly FPDFSignatureObj_GetContents: Call
  readonly FPDFSignatureObj_GetReason: Call
  readonly FPDFSignatureObj_GetTime: Call
  readonly FPDFCatalog_IsTagged: Call
  readonly FPDF_GetFormType: Call
  readonly FPDFDOC_InitFormFillEnvironment: Call
  readonly FPDFDOC_ExitFormFillEnvironment: Call
  readonly FPDFAnnot_GetFormFieldName: Call
  readonly FPDFAnnot_GetFormFieldValue: Call
  readonly FPDFPage_Flatten: Call
  readonly FPDFDoc_GetJavaScriptActionCount: Call
  readonly FPDFDoc_GetJavaScriptAction: Call
  readonly FPDFDoc_CloseJavaScriptAction: Call
  readonly FPDFJavaScriptAction_GetName: Call
  readonly FPDFJavaScriptAction_GetScript: Call
  readonly FPDFDoc_GetAttachmentCount: Call
  readonly FPDFDoc_GetAttachment: Call
  readonly FPDFAttachment_GetName: Call
  readonly FPDF_LoadPage: Call
  readonly FPDF_ClosePage: Call
  readonly FPDF_GetPageWidthF: Call
  readonly FPDF_GetPageHeightF: Call
  readonly FPDF_PageToDevice: Call
  readonly FPDFPage_CountObjects: Call
  readonly FPDFPage_GetObject: Call
  readonly FPDFPageObj_GetType: Call
  readonly FPDFPageObj_GetBounds: Call
  readonly FPDFPageObj_GetFillColor: Call
  readonly FPDFPath_GetDrawMode: Call
  readonly FPDFTextObj_GetTextRenderMode: Call
  readonly FPDFTextObj_GetFont: Call
  readonly FPDFFont_GetBaseFontName: Call
  readonly FPDFText_LoadPage: Call
  readonly FPDFText_ClosePage: Call
  readonly FPDFText_CountChars: Call
  readonly FPDFText_GetUnicode: Call
  readonly FPDFText_GetTextObject: Call
  readonly FPDFText_GetLooseCharBox: Call
  readonly FPDFText_IsHyphen: Call
  readonly FPDFPage_GetAnnotCount: Call
  readonly FPDFPage_GetAnnot: Call
  readonly FPDFPage_CloseAnnot: Call
  readonly FPDFAnnot_GetSubtype: Call
  readonly FPDFAnnot_GetStringValue: Call
  readonly FPDFAnnot_GetLink: Call
  readonly FPDFLink_GetAction: Call
  readonly FPDFAction_GetType: Call
  readonly FPDFAction_GetURIPath: Call
  readonly FPDFAction_GetFilePath: Call
}

interface WasmModule {
  readonly wasmExports: Native
  /** Replaced when the memory grows: read them anew after each call. */
  readonly HEAPU8: Uint8Array
  readonly HEAP32: Int32Array
  readonly HEAPF32: Float32Array
}

export interface Pdfium {
  readonly native: Native
  /** Copies bytes into wasm memory for the time of `use`. */
  withBytes<T>(bytes: Uint8Array, use: (pointer: number) => T): T
  withCString<T>(text: string, use: (pointer: number) => T): T
  /** Strings are asked for twice: for the size in bytes, then for the content. */
  utf16(call: (buffer: number, size: number) => number): string
  latin1(call: (buffer: number, size: number) => number): string
  /** Pointers to four numbers that calls write to; read with `float` and `int` by position. */
  readonly out: readonly [number, number, number, number]
  float(position: number): number
  int(position: number): number
}

const outSlots = 4
const maxStringBytes = 64 * 1024

let loading: Promise<Pdfium> | undefined

/** One instance per process: its memory never shrinks, which is why processes are recycled. */
export function loadPdfium(): Promise<Pdfium> {
  loading ??= load()
  return loading
}

async function load(): Promise<Pdfium> {
  const module = (await PDFiumModule({})) as unknown as WasmModule
  const native = module.wasmExports
  native.FPDF_InitLibrary()
  const first = native.malloc(outSlots * 4)

  function withBytes<T>(bytes: Uint8Array, use: (pointer: number) => T): T {
    const pointer = native.malloc(Math.max(1, bytes.length))
    if (pointer === 0) throw new RangeError('Array buffer allocation failed')
    try {
      module.HEAPU8.set(bytes, pointer)
      return use(pointer)
    } finally {
      native.free(pointer)
    }
  }

  function readString(call: (buffer: number, size: number) => number): Buffer {
    const size = Math.min(call(0, 0), maxStringBytes)
    if (size <= 0) return Buffer.alloc(0)
    return withBytes(new Uint8Array(size), (pointer) => {
      call(pointer, size)
      return Buffer.from(module.HEAPU8.slice(pointer, pointer + size))
    })
  }

  return {
    native,
    withBytes,
    withCString: (text, use) => withBytes(Buffer.from(`${text}\0`), use),
    utf16: (call) => readString(call).toString('utf16le').replace(/\0+$/, ''),
    latin1: (call) => readString(call).toString('latin1').replace(/\0+$/, ''),
    out: [first, first + 4, first + 8, first + 12],
    float: (position) => module.HEAPF32[first / 4 + position] ?? 0,
    int: (position) => module.HEAP32[first / 4 + position] ?? 0,
  }
}
