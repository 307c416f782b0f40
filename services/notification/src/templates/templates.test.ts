import { Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import { AnalysisCompleted, AnalysisFailed, BatchCompleted } from '@docmesh/contracts/analysis/v1/events'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { analysisCompleted, analysisFailed, batchCompleted } from './documents.ts'
import { emailBodies } from './email.ts'
import { linksTo } from './link.ts'
import { digestText } from './own.ts'
import { languageOf, truncate } from './text.ts'

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
    expect(analysisCompleted['pt-BR'](completed)).toEqual({
      title: 'Análise concluída: “contrato.pdf” não está conforme',
      body: 'Pontuação: 62 de 100.\nProblemas: críticos 1, altos 2, médios 3, baixos 4.\nDuração: 12,3 s.',
    })
  })

  it('tells why an analysis failed', () => {
    expect(analysisFailed['pt-BR'](failed)).toEqual({
      title: 'A análise de “contrato.pdf” falhou',
      body: 'The file is encrypted.\nEtapa: extract; tentativas: 3.\nIniciar a análise de novo pode resolver.',
    })
  })
})

describe('in English', () => {
  it('tells how an analysis ended', () => {
    expect(analysisCompleted.en(completed)).toEqual({
      title: 'Analysis completed: “contrato.pdf” does not conform',
      body: 'Score: 62 of 100.\nFindings: critical 1, high 2, medium 3, low 4.\nDuration: 12.3 s.',
    })
  })

  it('tells why an analysis failed', () => {
    expect(analysisFailed.en(failed)).toEqual({
      title: 'The analysis of “contrato.pdf” failed',
      body: 'The file is encrypted.\nStep: extract; attempts: 3.\nStarting the analysis again may help.',
    })
  })
})

it('tells how a batch ended, by its name when it has one', () => {
  const batch = BatchCompleted.fromPartial({ name: 'maio', total: 4, completed: 4, meanScore: 80.25 })
  expect(batchCompleted['pt-BR'](batch)).toEqual({
    title: 'Lote “maio” concluído: 4 documentos',
    body: 'Concluídas: 4; com falha: 0; canceladas: 0; total: 4.\nPontuação média: 80,3 de 100.',
  })
  const unnamed = { ...batch, name: '', completed: 3, failed: 1 }
  expect(batchCompleted.en(unnamed).title).toBe('Batch completed with failures: 1 of 4')
  const cancelled = { ...batch, completed: 0, cancelled: 4, meanScore: undefined }
  expect(batchCompleted.en(cancelled)).toEqual({
    title: 'Batch “maio” ended: 4 of 4 cancelled',
    body: 'Completed: 0; failed: 0; cancelled: 4; total: 4.',
  })
})

it('says each verdict, and that there is no score when there is none', () => {
  const titles = [Verdict.PASS, Verdict.FAIL, Verdict.INCOMPLETE, Verdict.UNSPECIFIED].map(
    (verdict) => analysisCompleted.en({ ...completed, verdict }).title,
  )
  expect(titles).toEqual([
    'Analysis completed: “contrato.pdf” conforms',
    'Analysis completed: “contrato.pdf” does not conform',
    'Analysis completed: “contrato.pdf” could not be fully assessed',
    'Analysis completed: “contrato.pdf”',
  ])
  const unread = AnalysisCompleted.fromPartial({ documentId: 'd1', verdict: Verdict.INCOMPLETE })
  expect(analysisCompleted['pt-BR'](unread)).toEqual({
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
      const { title } = analysisCompleted.en({ ...completed, documentName })
      expect(title).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
      expect(Array.from(title).length).toBeLessThan(200)
    }),
  )
  const documentName = 'a\r\nBcc: eve@example.com\u202Efdp.exe'
  expect(analysisCompleted.en({ ...completed, documentName }).title).toBe(
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

it('cuts a text between characters', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 1, max: 20 }), (raw, max) => {
      const text = raw.toWellFormed()
      const cut = truncate(text, max)
      expect(cut.isWellFormed()).toBe(true)
      expect(cut.length).toBeLessThanOrEqual(max)
      expect(text.startsWith(cut.replace(/…$/, ''))).toBe(true)
    }),
  )
})

it('links to analyses only, and only when it knows where they are shown', () => {
  const analysis = { subjectType: 'analysis', subjectId: 'a/1' }
  expect(linksTo('https://docs.test/app/')(analysis)).toBe('https://docs.test/app/analyses/a%2F1')
  expect(linksTo('')(analysis)).toBe('')
  expect(linksTo('https://docs.test')({ subjectType: 'instance', subjectId: 'a1' })).toBe('')
})

it('lists the titles of a digest, the first fifty of many', () => {
  expect(digestText(['um', 'dois'], 'pt-BR')).toEqual({
    title: 'Resumo: 2 notificações',
    body: '• um\n• dois',
  })
  const { title, body } = digestText(Array(60).fill('x'), 'en')
  expect(title).toBe('Digest: 60 notifications')
  expect(body.split('\n')).toHaveLength(51)
  expect(body).toMatch(/… and 10 more\.$/)
})
