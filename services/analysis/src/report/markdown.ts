import type { Finding } from '../rules/findings.ts'
import {
  presentable,
  type ReportInput,
  type ReportOptions,
  SEVERITY_NAMES,
  VERDICT_NAMES,
  wordIn,
} from './report.ts'

/** Text as text: no markup, HTML, link or table cell of a document survives, and it stays on one line. */
export const escapeMarkdown = (text: string): string =>
  text
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[\\`*_[\]|~>]/g, '\\$&')
    .replace(/^(\d*)([-+#=.)])/, '$1\\$2')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/:(?=\/\/)|www(?=\.)/gi, '$&\u200b')

export const renderMarkdown = (source: ReportInput, options: ReportOptions = {}): string => {
  const { document, analysis, assessment } = presentable(source, options)
  const { locale } = analysis
  const { findings, ledger, coverage, score, verdict } = assessment
  const word = wordIn(locale)
  const table = (head: readonly string[], rows: readonly (readonly string[])[]) => [
    `| ${head.join(' | ')} |`,
    `| ${head.map(() => '---').join(' | ')} |`,
    ...rows.map((row) => `| ${row.map(escapeMarkdown).join(' | ')} |`),
    '',
  ]
  const describe = (finding: Finding, index: number) => [
    `### ${index + 1}. ${escapeMarkdown(finding.title)}`,
    '',
    `**${SEVERITY_NAMES[finding.severity][locale]}** · ${escapeMarkdown(finding.ruleId)} · ${word('confidence')} ${Math.round(finding.confidence * 100)} %`,
    '',
    escapeMarkdown(finding.message),
    '',
    ...finding.evidence.map(({ page, quote }) => `> ${word('page')} ${page}: ${escapeMarkdown(quote)}\n`),
    `**${word('remedy')}:** ${escapeMarkdown(finding.remediation)}`,
    '',
    ...(finding.references.length > 0
      ? [
          `${word('references')}: ${finding.references.map(({ label }) => escapeMarkdown(label)).join('; ')}`,
          '',
        ]
      : []),
  ]
  const reasons = (title: string, list: typeof coverage.rulesSkipped) =>
    list.length === 0
      ? []
      : [
          `${title}:`,
          '',
          ...list.map(({ ruleId, reason }) => `- ${escapeMarkdown(`${ruleId}: ${reason}`)}`),
          '',
        ]
  const lines = [
    `# ${word('report')}: ${escapeMarkdown(document.name)}`,
    '',
    `**${word('verdict')}: ${VERDICT_NAMES[verdict][locale]}** · **${word('score')}: ${score ?? word('noScore')}**`,
    '',
    ...table(
      [word('document'), 'SHA-256', word('date'), word('packs')],
      [
        [
          document.id,
          document.sha256,
          analysis.createdAt,
          analysis.packs.map(({ id, version }) => `${id}@${version}`).join(', '),
        ],
      ],
    ),
    `## ${word('findings')} (${findings.length})`,
    '',
    ...(findings.length === 0 ? [word('noFindings'), ''] : findings.flatMap(describe)),
    ...(ledger.length === 0
      ? []
      : [
          `## ${word('ledger')}`,
          '',
          ...table(
            [word('rule'), word('severity'), word('count'), word('deduction')],
            ledger.map(({ ruleId, severity, count, deduction }) => [
              ruleId,
              SEVERITY_NAMES[severity][locale],
              String(count),
              String(deduction),
            ]),
          ),
        ]),
    `## ${word('coverage')}`,
    '',
    `${word('rulesRun')}: ${coverage.rulesRun.length}. ${word('pagesRead')}: ${coverage.pagesRead}/${coverage.pages}.`,
    '',
    ...reasons(word('skipped'), coverage.rulesSkipped),
    ...reasons(word('notApplicable'), coverage.rulesNotApplicable),
  ]
  return `${lines.join('\n').trimEnd()}\n`
}
