import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assess } from '../rules/assess.ts'
import { loadPacks } from '../rules/pack.ts'
import { sampleDocument } from '../rules/sample-text.ts'
import { renderHtml } from './html.ts'
import { escapeMarkdown, renderMarkdown } from './markdown.ts'
import { mask } from './mask.ts'
import type { ReportInput } from './report.ts'
import { renderSarif } from './sarif.ts'

const packs = [...(await loadPacks(new URL('../../packs', import.meta.url).pathname)).values()]

const HOSTILE = `<script>alert(1)</script> & "quotes" | [link](http://x.example) \`code\``
const report = async (text: string, locale: 'pt-BR' | 'en' = 'pt-BR'): Promise<ReportInput> => {
  const document = sampleDocument(text)
  return {
    document: {
      id: 'doc-1',
      name: 'contrato <1>.pdf',
      sha256: 'ab'.repeat(32),
      mediaType: 'application/pdf',
    },
    analysis: {
      id: 'run-1',
      createdAt: '2026-08-01T12:00:00Z',
      locale,
      packs: packs.map(({ id, version, hash }) => ({ id, version, hash })),
    },
    assessment: await assess(packs, document, { locale, today: '2026-08-01' }),
    text: document.text,
  }
}
const PERSONAL = '# T\n\nMaria, CPF 529.982.247-26 e CPF nº 52998224725, maria@exemplo.com, (81) 99876-5432.'

describe('mask', () => {
  it.each([
    ['CPF 529.982.247-25', 'CPF ***.982.247-**'],
    ['52998224726', '***982247**'],
    ['maria@exemplo.com', 'm****@exemplo.com'],
    ['(81) 99876-5432', '(**) *****-5432'],
    ['4111 1111 1111 1111', '**** **** **** 1111'],
    ['R$ 1.234,56 em 31/12/2026', 'R$ 1.234,56 em 31/12/2026'],
  ])('shows %s as %s', (text, masked) => {
    expect(mask(text)).toBe(masked)
  })

  it('keeps the length of any text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(mask(text).length).toBe(text.length)
      }),
    )
  })
})

describe.each([
  ['SARIF', renderSarif],
  ['HTML', renderHtml],
  ['Markdown', renderMarkdown],
])('%s', (_, render) => {
  it('masks personal data unless asked not to', async () => {
    const input = await report(PERSONAL)
    const secrets = ['529.982.247-26', '52998224725']
    const masked = render(input)
    expect(
      [...secrets, 'maria@exemplo.com', '99876-5432'].filter((secret) => masked.includes(secret)),
    ).toEqual([])
    const open = render(input, { unmask: true }).replaceAll('\\', '')
    expect(secrets.filter((secret) => !open.includes(secret))).toEqual([])
  })

  it('gives the same bytes for the same input', async () => {
    expect(render(await report(PERSONAL))).toBe(render(await report(PERSONAL)))
  })
})

describe('SARIF', () => {
  it('has what 2.1.0 requires', async () => {
    const input = await report('# T\n\nVence em 31/02/2026.')
    const log = JSON.parse(renderSarif(input))
    expect(log.version).toBe('2.1.0')
    expect(log.runs).toHaveLength(1)
    const [run] = log.runs
    expect(run.columnKind).toBe('utf16CodeUnits')
    expect(run.tool.driver.name).toBe('docmesh')
    expect(run.artifacts[0]).toMatchObject({
      mimeType: 'application/pdf',
      hashes: { 'sha-256': 'ab'.repeat(32) },
    })
    expect(run.artifacts[0].location.uri).toBe('contrato%20%3C1%3E.pdf')
    expect(run.invocations[0].executionSuccessful).toBe(true)
    expect(run.results.length).toBe(input.assessment.findings.length)
    for (const result of run.results) {
      expect(result.message.text).toEqual(expect.any(String))
      expect(run.tool.driver.rules[result.ruleIndex].id).toBe(result.ruleId)
      expect(['error', 'warning', 'note']).toContain(result.level)
      expect(result.partialFingerprints['docmesh/v1']).toMatch(/^[0-9a-f]{64}$/)
      for (const { physicalLocation } of result.locations) {
        expect(physicalLocation.artifactLocation).toEqual({ uri: run.artifacts[0].location.uri, index: 0 })
      }
    }
    for (const rule of run.tool.driver.rules) {
      expect(rule.help.text.length).toBeGreaterThan(0)
      expect(rule.shortDescription.text.length).toBeGreaterThan(0)
    }
  })

  it('points at the evidence by character', async () => {
    const input = await report('# T\n\nVence em 31/02/2026.')
    const { results } = JSON.parse(renderSarif(input)).runs[0]
    const result = results.find(({ ruleId }: { ruleId: string }) => ruleId === 'DOC-011')
    const { charOffset, charLength, snippet, properties } = result.locations[0].physicalLocation.region
    expect(input.text?.slice(charOffset, charOffset + charLength)).toBe('31/02/2026')
    expect({ snippet, properties }).toEqual({ snippet: { text: '31/02/2026' }, properties: { page: 1 } })
  })

  it('tells which rules could not be assessed', async () => {
    const { invocations, properties } = JSON.parse(renderSarif(await report('\f', 'en'))).runs[0]
    expect(properties).toMatchObject({ score: null, verdict: 'incomplete' })
    expect(invocations[0].toolExecutionNotifications[0]).toEqual({
      level: 'warning',
      message: { text: 'DOC-001: The document has no text that can be read.' },
    })
  })
})

describe('HTML', () => {
  it('escapes hostile text everywhere', async () => {
    const html = renderHtml(await report(`# ${HOSTILE}\n\n## ${HOSTILE}\n\n{{${HOSTILE.slice(0, 40)}}}`))
    expect(html).not.toMatch(/<script/i)
    expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quotes&quot;')
    expect(html).toContain('contrato &lt;1&gt;.pdf')
  })

  it('marks each evidence in the text and links to it', async () => {
    const html = renderHtml(await report('# T\n\nVence em 31/02/2026.'))
    expect(html).toMatch(
      /<a id="(e\d+-1)"><\/a><mark class="medium" title="Data que não existe">31\/02\/2026<\/mark>/,
    )
    for (const [, target] of html.matchAll(/href="#(e\d+-\d+)"/g)) expect(html).toContain(`id="${target}"`)
  })

  it('keeps the text whole under overlapping marks', () => {
    const evidence = (charStart: number, charEnd: number) => ({
      ...{ page: 1, charStart, charEnd, quote: '', textSha256: '' },
    })
    const text = 'abcdefghij <&>'
    const span = fc
      .tuple(fc.nat(text.length), fc.nat(text.length))
      .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
    return fc.assert(
      fc.asyncProperty(fc.array(span, { maxLength: 6 }), async (spans) => {
        const input = await report('# T\n\n31/02/2026')
        const [finding] = input.assessment.findings
        if (finding === undefined) throw new Error('a finding was expected')
        const findings = spans.map(([start, end]) => ({ ...finding, evidence: [evidence(start, end)] }))
        const html = renderHtml({ ...input, text, assessment: { ...input.assessment, findings } })
        const shown = /<div class="text">(.*)<\/div>/s.exec(html)?.[1]?.replace(/<\/?(?:mark|a)\b[^>]*>/g, '')
        expect(shown).toBe('abcdefghij &lt;&amp;&gt;')
      }),
      { numRuns: 50 },
    )
  })

  it('asks for nothing outside itself', async () => {
    const html = renderHtml(await report(PERSONAL))
    expect(html).toContain(`default-src 'none'`)
    expect(html).not.toMatch(/<(?:script|link|img|iframe)|src=|@import|url\(/)
  })

  it('names its language', async () => {
    expect(renderHtml(await report(PERSONAL, 'en'))).toContain('<html lang="en">')
    expect(renderHtml(await report(PERSONAL))).toContain('<html lang="pt-BR">')
  })
})

describe('Markdown', () => {
  it('leaves no markup of the document alive', () => {
    expect(escapeMarkdown('<b>*x*</b>\n# y | [z](http://w)')).toBe(
      '&lt;b\\>\\*x\\*&lt;/b\\> # y \\| \\[z\\](http:\u200b//w)',
    )
    expect(['# a', '- b', '1. c', '2) d'].map(escapeMarkdown)).toEqual(['\\# a', '\\- b', '1\\. c', '2\\) d'])
  })

  it('leaves no address of the document a link', () => {
    for (const address of [
      'www.example.com',
      'WWW.example.com',
      'see (www.example.com',
      'https://www.example.com',
    ]) {
      const shown = escapeMarkdown(address)
      expect(shown).not.toMatch(/www\.|:\/\//i)
      expect(shown.replaceAll('\u200b', '').replaceAll('\\', '')).toBe(address)
    }
  })

  it('shows verdict, score, finding and remedy', async () => {
    const text = renderMarkdown(await report('# T\n\nVence em 31/02/2026.', 'en'))
    expect(text).toContain('**Verdict: Fail**')
    expect(text).toMatch(/### \d+\. Date that does not exist/)
    expect(text).toContain('> page 1: 31/02/2026')
    expect(text).toContain('**What to do:** Correct the day or the month.')
  })
})
