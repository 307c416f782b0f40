import type { Finding } from '../rules/findings.ts'
import { SEVERITIES } from '../rules/pack-schema.ts'
import { STYLE } from './html-style.ts'
import {
  presentable,
  type ReportInput,
  type ReportOptions,
  SEVERITY_NAMES,
  VERDICT_NAMES,
  wordIn,
} from './report.ts'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (char) => ENTITIES[char] ?? char)

const anchor = (finding: number, evidence: number): string => `e${finding + 1}-${evidence + 1}`

/** The text in pieces: each is inside the same findings from its start to its end; the gravest gives the colour. */
const highlight = (text: string, findings: readonly Finding[]): string => {
  const marks = findings.flatMap(({ severity, title, evidence }, finding) =>
    evidence.map(({ charStart: start, charEnd: end }, index) => {
      return { start, end, severity, title, id: anchor(finding, index) }
    }),
  )
  const cuts = [...new Set([0, text.length, ...marks.flatMap(({ start, end }) => [start, end])])]
    .filter((cut) => cut >= 0 && cut <= text.length)
    .sort((a, b) => a - b)
  const opening = Map.groupBy(marks, ({ start }) => start)
  let inside: typeof marks = []
  return cuts
    .map((cut, index) => {
      const opened = opening.get(cut) ?? []
      inside = [...inside.filter(({ end }) => end > cut), ...opened.filter(({ end }) => end > cut)]
      const targets = opened.map(({ id }) => `<a id="${id}"></a>`).join('')
      const piece = escapeHtml(text.slice(cut, cuts[index + 1] ?? cut))
      const gravest = inside.toSorted(
        (a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity),
      )[0]
      if (gravest === undefined || piece === '') return targets + piece
      const titles = [...new Set(inside.map(({ title }) => title))].join('; ')
      return `${targets}<mark class="${gravest.severity}" title="${escapeHtml(titles)}">${piece}</mark>`
    })
    .join('')
}

/** One self-contained page: no script, no request; prints well; light and dark. */
export const renderHtml = (source: ReportInput, options: ReportOptions = {}): string => {
  const { document, analysis, assessment, text } = presentable(source, options)
  const { locale } = analysis
  const { findings, ledger, coverage, score, verdict } = assessment
  const word = wordIn(locale)

  const place = (finding: number) => (evidence: Finding['evidence'][number], index: number) => {
    const where = `${word('page')} ${evidence.page}`
    const link = text === undefined ? where : `<a href="#${anchor(finding, index)}">${where}</a>`
    return `<li>${link}: <q>${escapeHtml(evidence.quote)}</q></li>`
  }
  const reference = ({ label, url }: Finding['references'][number]) =>
    url !== undefined && /^https?:\/\//.test(url)
      ? `<a href="${escapeHtml(url)}" rel="noreferrer">${escapeHtml(label)}</a>`
      : escapeHtml(label)
  const describe = (finding: Finding, index: number) => `
<article class="${finding.severity}">
<h3>${index + 1}. ${escapeHtml(finding.title)}</h3>
<p class="meta"><span class="tag">${SEVERITY_NAMES[finding.severity][locale]}</span> ${escapeHtml(finding.ruleId)} · ${word('confidence')} ${Math.round(finding.confidence * 100)} %</p>
<p>${escapeHtml(finding.message)}</p>
${finding.evidence.length > 0 ? `<ul>${finding.evidence.map(place(index)).join('')}</ul>` : ''}
<p><strong>${word('remedy')}:</strong> ${escapeHtml(finding.remediation)}</p>
${finding.references.length > 0 ? `<p class="meta">${word('references')}: ${finding.references.map(reference).join('; ')}</p>` : ''}
</article>`
  const row = ({ ruleId, severity, count, deduction }: (typeof ledger)[number]) =>
    `<tr><td>${escapeHtml(ruleId)}</td><td>${SEVERITY_NAMES[severity][locale]}</td><td>${count}</td><td>${deduction}</td></tr>`
  const reasons = (title: string, list: typeof coverage.rulesSkipped) =>
    list.length === 0
      ? ''
      : `<details open><summary>${title} (${list.length})</summary><ul>${list
          .map(({ ruleId, reason }) => `<li>${escapeHtml(ruleId)}: ${escapeHtml(reason)}</li>`)
          .join('')}</ul></details>`
  const head = (['rule', 'severity', 'count', 'deduction'] as const)
    .map((name) => `<th scope="col">${word(name)}</th>`)
    .join('')
  const packs = analysis.packs
    .map(({ id, version, hash }) => `${id}@${version} (${hash.slice(0, 12)})`)
    .join(', ')

  return `<!doctype html>
<html lang="${locale}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>${word('report')}: ${escapeHtml(document.name)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${word('report')}</h1>
<p class="name">${escapeHtml(document.name)}</p>
<p class="verdict ${verdict}"><strong>${VERDICT_NAMES[verdict][locale]}</strong> · ${word('score')}: <strong>${score ?? word('noScore')}</strong></p>
<p class="meta">${word('document')}: ${escapeHtml(document.id)} · SHA-256 ${escapeHtml(document.sha256)} · <time>${escapeHtml(analysis.createdAt)}</time><br>${word('packs')}: ${escapeHtml(packs)}</p>
</header>
<main>
<section><h2>${word('findings')} (${findings.length})</h2>${findings.length === 0 ? `<p>${word('noFindings')}</p>` : findings.map(describe).join('')}</section>
${ledger.length > 0 ? `<section><h2>${word('ledger')}</h2><table><thead><tr>${head}</tr></thead><tbody>${ledger.map(row).join('')}</tbody></table></section>` : ''}
<section><h2>${word('coverage')}</h2><p>${word('rulesRun')}: ${coverage.rulesRun.length}. ${word('pagesRead')}: ${coverage.pagesRead}/${coverage.pages}.</p>${reasons(word('skipped'), coverage.rulesSkipped)}${reasons(word('notApplicable'), coverage.rulesNotApplicable)}</section>
${text === undefined ? '' : `<section><h2>${word('text')}</h2><div class="text">${highlight(text, findings)}</div></section>`}
</main>
</body>
</html>
`
}
