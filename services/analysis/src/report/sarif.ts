import type { Finding } from '../rules/findings.ts'
import type { Severity } from '../rules/pack-schema.ts'
import { PASS_SCORE } from '../rules/score.ts'
import { presentable, type ReportInput, type ReportOptions } from './report.ts'

const SCHEMA = 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json'
const LEVELS: Readonly<Record<Severity, 'error' | 'warning' | 'note'>> = {
  critical: 'error',
  high: 'error',
  medium: 'warning',
  low: 'note',
}

const ruleOf = ({
  ruleId,
  title,
  remediation,
  severity,
  category,
  references,
  packId,
  packVersion,
}: Finding) => {
  const labels = references.map(({ label }) => label)
  const url = references.find((reference) => reference.url !== undefined)?.url
  return {
    id: ruleId,
    shortDescription: { text: title },
    fullDescription: { text: title },
    help: { text: [remediation, ...labels].join('\n') },
    ...(url !== undefined && { helpUri: url }),
    defaultConfiguration: { level: LEVELS[severity] },
    properties: { severity, pack: `${packId}@${packVersion}`, tags: [category] },
  }
}

/** SARIF 2.1.0 (OASIS) as indented JSON; the same input gives the same bytes. */
export const renderSarif = (source: ReportInput, options: ReportOptions = {}): string => {
  const { document, analysis, assessment } = presentable(source, options)
  const { findings, coverage, score, verdict } = assessment
  const rules = [...new Map(findings.map((finding) => [finding.ruleId, ruleOf(finding)])).values()].sort(
    (a, b) => (a.id < b.id ? -1 : 1),
  )
  const artifactLocation = { uri: encodeURIComponent(document.name), index: 0 }
  const results = findings.map((finding) => ({
    ruleId: finding.ruleId,
    ruleIndex: rules.findIndex(({ id }) => id === finding.ruleId),
    level: LEVELS[finding.severity],
    message: { text: finding.message },
    locations:
      finding.evidence.length === 0
        ? [{ physicalLocation: { artifactLocation } }]
        : finding.evidence.map(({ charStart, charEnd, quote, page, box }) => ({
            physicalLocation: {
              artifactLocation,
              region: {
                charOffset: charStart,
                charLength: charEnd - charStart,
                ...(quote.length === charEnd - charStart && { snippet: { text: quote } }),
                properties: { page, ...(box !== undefined && { box }) },
              },
            },
          })),
    partialFingerprints: { 'docmesh/v1': finding.fingerprint },
    properties: {
      severity: finding.severity,
      category: finding.category,
      confidence: finding.confidence,
      remediation: finding.remediation,
      source: finding.source,
    },
  }))
  const notifications = coverage.rulesSkipped.map(({ ruleId, reason }) => ({
    level: 'warning',
    message: { text: `${ruleId}: ${reason}` },
  }))
  const log = {
    $schema: SCHEMA,
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'docmesh', rules, properties: { packs: analysis.packs } } },
        automationDetails: { id: `docmesh/${analysis.id}` },
        invocations: [
          {
            executionSuccessful: true,
            endTimeUtc: analysis.createdAt,
            toolExecutionNotifications: notifications,
          },
        ],
        language: analysis.locale,
        columnKind: 'utf16CodeUnits',
        artifacts: [
          {
            location: { uri: artifactLocation.uri },
            mimeType: document.mediaType,
            hashes: { 'sha-256': document.sha256 },
            properties: { documentId: document.id },
          },
        ],
        results,
        properties: { score, verdict, passScore: PASS_SCORE, coverage },
      },
    ],
  }
  return `${JSON.stringify(log, null, 2)}\n`
}
