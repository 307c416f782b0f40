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

/** Of files that were all refused. */
const NO_LOG = { version: '2.1.0' }

interface SarifLog {
  readonly runs: readonly unknown[]
}

/**
 * The reports of one file, or of several, as one document: several are a JSON array, one SARIF log with all runs, or texts
 * one after the other, also when only one of the files, or none, has a report.
 */
export function joinReports(
  format: Exclude<Format, 'html'>,
  reports: readonly string[],
  several: boolean,
): string {
  const [only] = reports
  if (!several && only !== undefined) return only.endsWith('\n') ? only : `${only}\n`
  switch (format) {
    case 'json':
      return `[${reports.map((report) => report.trim()).join(',\n')}]\n`
    case 'sarif': {
      const logs = reports.map((report) => JSON.parse(report) as SarifLog)
      return `${JSON.stringify({ ...(logs[0] ?? NO_LOG), runs: logs.flatMap(({ runs }) => runs) }, undefined, 2)}\n`
    }
    case 'markdown':
      return reports.map((report) => `${report.trimEnd()}\n`).join('\n---\n\n')
    case 'text':
      return reports.join('\n')
  }
}
