import { Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import { AnalysisCompleted, AnalysisFailed } from '@docmesh/contracts/analysis/v1/events'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { completedText, emailBodies, failedText, languageOf } from './templates.ts'

const completed = AnalysisCompleted.fromPartial({
  documentId: 'd1',
  documentName: 'contrato.pdf',
  verdict: Verdict.FAIL,
  score: 62,
  counts: { critical: 1, high: 2, medium: 3, low: 4 },
  duration: { seconds: 12n, nanos: 340_000_000 },
})
const failed = AnalysisFailed.fromPartial({
  documentId: 'd1',
  documentName: 'contrato.pdf',
  failure: {
    step: 'extract',
    reason: 'DOCUMENT_UNREADABLE',
    message: 'The file is encrypted.',
    retryable: true,
  },
  attempts: 3,
})

describe('in Portuguese', () => {
  it('tells how an analysis ended', () => {
    expect(completedText(completed, 'pt-BR')).toEqual({
      title: 'Análise concluída: “contrato.pdf” não está conforme',
      body: 'Pontuação: 62 de 100.\nProblemas: críticos 1, altos 2, médios 3, baixos 4.\nDuração: 12,3 s.',
    })
  })

  it('tells why an analysis failed', () => {
    expect(failedText(failed, 'pt-BR')).toEqual({
      title: 'A análise de “contrato.pdf” falhou',
      body: 'The file is encrypted.\nEtapa: extract; tentativas: 3.\nIniciar a análise de novo pode resolver.',
    })
  })
})

describe('in English', () => {
  it('tells how an analysis ended', () => {
    expect(completedText(completed, 'en')).toEqual({
      title: 'Analysis completed: “contrato.pdf” does not conform',
      body: 'Score: 62 of 100.\nFindings: critical 1, high 2, medium 3, low 4.\nDuration: 12.3 s.',
    })
  })

  it('tells why an analysis failed', () => {
    expect(failedText(failed, 'en')).toEqual({
      title: 'The analysis of “contrato.pdf” failed',
      body: 'The file is encrypted.\nStep: extract; attempts: 3.\nStarting the analysis again may help.',
    })
  })
})

it('says each verdict, and that there is no score when there is none', () => {
  const titles = [Verdict.PASS, Verdict.FAIL, Verdict.INCOMPLETE, Verdict.UNSPECIFIED].map(
    (verdict) => completedText({ ...completed, verdict }, 'en').title,
  )
  expect(titles).toEqual([
    'Analysis completed: “contrato.pdf” conforms',
    'Analysis completed: “contrato.pdf” does not conform',
    'Analysis completed: “contrato.pdf” could not be fully assessed',
    'Analysis completed: “contrato.pdf”',
  ])
  const unread = AnalysisCompleted.fromPartial({ documentId: 'd1', verdict: Verdict.INCOMPLETE })
  expect(completedText(unread, 'pt-BR')).toEqual({
    title: 'Análise concluída: “d1” não pôde ser avaliado por inteiro',
    body: 'Pontuação: não disponível.',
  })
})

it('speaks Portuguese to every kind of Portuguese and English to everybody else', () => {
  expect(['pt', 'pt-BR', 'pt-PT', 'PT-br', 'pt_BR'].map(languageOf)).toEqual(Array(5).fill('pt-BR'))
  expect(['', 'en', 'en-GB', 'fr', 'ptx'].map(languageOf)).toEqual(Array(5).fill('en'))
})

it('keeps a title one printable line whatever the document is called', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (documentName) => {
      const { title } = completedText({ ...completed, documentName }, 'en')
      expect(title).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
      expect(Array.from(title).length).toBeLessThan(200)
    }),
  )
  const documentName = 'a\r\nBcc: eve@example.com\u202Efdp.exe'
  expect(completedText({ ...completed, documentName }, 'en').title).toBe(
    'Analysis completed: “a Bcc: eve@example.com fdp.exe” does not conform',
  )
})

it('escapes every text in the HTML form and leaves the plain one readable', () => {
  const text = { title: `<script>"x" & 'y'</script>`, body: '<b>1</b>\n2' }
  const { html, text: plain } = emailBodies(text, 'pt-BR', 'https://docs.test/analyses/a?b="><i>')
  expect(html).toContain('&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;')
  expect(html).toContain('&lt;b&gt;1&lt;/b&gt;<br>\n2')
  expect(html).toContain('<a href="https://docs.test/analyses/a?b=&quot;&gt;&lt;i&gt;">Ver a análise</a>')
  expect(html).toContain('<html lang="pt-BR">')
  expect(plain).toContain(`<script>"x" & 'y'</script>\n\n<b>1</b>\n2\n\nVer a análise: https://docs.test`)
})

it('leaves the link out when there is nowhere to read on', () => {
  const { html, text } = emailBodies({ title: 't', body: 'b' }, 'en', '')
  expect(html).not.toContain('<a ')
  expect(text).not.toContain('See the analysis')
})
