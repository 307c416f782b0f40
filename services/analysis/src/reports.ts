import {
  GetAnalysisResponse,
  ListFindingsResponse,
  ReportFormat,
} from '@docmesh/contracts/analysis/v1/analysis'
import { invalidRequest } from '@docmesh/rpc'
import type { Analyses } from './analyses.ts'
import type { Analysis, Caller } from './analysis.ts'
import type { Documents } from './documents.ts'
import { renderHtml } from './report/html.ts'
import { renderMarkdown } from './report/markdown.ts'
import type { ReportInput } from './report/report.ts'
import { renderSarif } from './report/sarif.ts'
import type { Finding } from './rules/findings.ts'
import { analysisMessage, findingMessage, localeFrom } from './wire.ts'

export interface Report {
  readonly mediaType: string
  readonly fileName: string
  readonly content: Buffer
}

export type Reports = (
  id: string,
  format: ReportFormat,
  locale: string,
  caller: Caller,
  signal: AbortSignal,
) => Promise<Report>

interface Form {
  readonly mediaType: string
  readonly extension: string
  readonly showsText?: boolean
  render(analysis: Analysis, findings: readonly Finding[], input: () => ReportInput): string
}

const FORMS: Readonly<Partial<Record<ReportFormat, Form>>> = {
  [ReportFormat.JSON]: {
    mediaType: 'application/json',
    extension: 'json',
    render: (analysis, findings) => `${JSON.stringify(jsonReport(analysis, findings), null, 2)}\n`,
  },
  [ReportFormat.SARIF]: {
    mediaType: 'application/sarif+json',
    extension: 'sarif',
    render: ({ options }, _, input) => renderSarif(input(), options),
  },
  [ReportFormat.HTML]: {
    mediaType: 'text/html; charset=utf-8',
    extension: 'html',
    showsText: true,
    render: ({ options }, _, input) => renderHtml(input(), options),
  },
  [ReportFormat.MARKDOWN]: {
    mediaType: 'text/markdown; charset=utf-8',
    extension: 'md',
    render: ({ options }, _, input) => renderMarkdown(input(), options),
  },
}

/** Report files of completed analyses. The document's text is fetched when the form shows it. */
export function createReports(analyses: Analyses, documents: Documents): Reports {
  return async (id, format, locale, caller, signal) => {
    const form = FORMS[format === ReportFormat.UNSPECIFIED ? ReportFormat.JSON : format]
    if (!form)
      throw invalidRequest([
        { field: 'format', description: 'this version writes JSON, SARIF, HTML and Markdown' },
      ])
    const { analysis, findings } = await analyses.findings(id, caller)
    const { documentId, documentVersion, tenantId } = analysis
    const source = form.showsText
      ? await documents.text(documentId, documentVersion, { tenantId, signal })
      : undefined
    const input = (): ReportInput => reportInput(analysis, findings, locale, source?.document.text)
    const content = Buffer.from(form.render(analysis, findings, input))
    return {
      mediaType: form.mediaType,
      fileName: `${baseName(analysis.documentName)}.report.${form.extension}`,
      content,
    }
  }
}

const baseName = (name: string): string =>
  name.replace(/\.[^.]*$/, '').replace(/[^\p{L}\p{N}._-]+/gu, '-') || 'document'

function jsonReport(analysis: Analysis, findings: readonly Finding[]): unknown {
  const all = ListFindingsResponse.fromPartial({
    findings: findings.map((finding, index) => findingMessage(finding, index, analysis)),
  })
  const head = GetAnalysisResponse.fromPartial({ analysis: analysisMessage(analysis) })
  return { ...(GetAnalysisResponse.toJSON(head) as object), ...(ListFindingsResponse.toJSON(all) as object) }
}

function reportInput(
  analysis: Analysis,
  findings: readonly Finding[],
  locale: string,
  text: string | undefined,
): ReportInput {
  const { outcome, options } = analysis
  if (!outcome) throw new Error('a completed analysis has an outcome')
  const { score, verdict, ledger, coverage, source } = outcome
  return {
    document: { id: analysis.documentId, name: analysis.documentName, ...source },
    analysis: {
      id: analysis.id,
      createdAt: analysis.createdAt.toISOString(),
      locale: locale ? localeFrom(locale) : options.locale,
      packs: analysis.rulePacks.map(({ id, version, sha256 }) => ({ id, version, hash: sha256 })),
    },
    assessment: { findings, score, verdict, ledger, coverage },
    ...(text !== undefined && { text }),
  }
}
