import { ReportFormat } from '@docmesh/contracts/analysis/v1/analysis'

export const FORMATS = ['text', 'json', 'sarif', 'html', 'markdown'] as const
export type Format = (typeof FORMATS)[number]

/** Formats that the analysis service renders; `text` is ours. */
export const WIRE_FORMATS: Readonly<Record<Exclude<Format, 'text'>, ReportFormat>> = {
  json: ReportFormat.JSON,
  sarif: ReportFormat.SARIF,
  html: ReportFormat.HTML,
  markdown: ReportFormat.MARKDOWN,
}

export const EXTENSIONS: Readonly<Record<Format, string>> = {
  text: 'txt',
  json: 'json',
  sarif: 'sarif',
  html: 'html',
  markdown: 'md',
}

interface SarifLog {
  readonly runs: readonly unknown[]
}

/** Several reports as one document: a JSON array, one SARIF log with all runs, or texts one after the other. */
export function joinReports(format: Exclude<Format, 'html'>, reports: readonly string[]): string {
  const [only] = reports
  if (reports.length === 1 && only !== undefined) return only.endsWith('\n') ? only : `${only}\n`
  switch (format) {
    case 'json':
      return `[${reports.map((report) => report.trim()).join(',\n')}]\n`
    case 'sarif': {
      const logs = reports.map((report) => JSON.parse(report) as SarifLog)
      return `${JSON.stringify({ ...logs[0], runs: logs.flatMap(({ runs }) => runs) }, undefined, 2)}\n`
    }
    case 'markdown':
      return reports.map((report) => `${report.trimEnd()}\n`).join('\n---\n\n')
    case 'text':
      return reports.join('\n')
  }
}
