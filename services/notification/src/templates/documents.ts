import { Severity, Verdict } from '@docmesh/contracts/analysis/v1/analysis'
import type {
  AnalysisCompleted,
  AnalysisFailed,
  BatchCompleted,
  ProblemDetected,
} from '@docmesh/contracts/analysis/v1/events'
import type { DocumentTextUnreadable } from '@docmesh/contracts/document/v1/events'
import { msOf } from '@docmesh/rpc'
import { type Language, lines, messageOf, nameOf, type Template, type Text } from './text.ts'

const COMPLETED = {
  'pt-BR': {
    title: {
      [Verdict.PASS]: (name: string) => `Análise concluída: “${name}” está conforme`,
      [Verdict.FAIL]: (name: string) => `Análise concluída: “${name}” não está conforme`,
      [Verdict.INCOMPLETE]: (name: string) =>
        `Análise concluída: “${name}” não pôde ser avaliado por inteiro`,
      [Verdict.UNSPECIFIED]: (name: string) => `Análise concluída: “${name}”`,
    },
    score: (score: number | undefined) =>
      score === undefined ? 'Pontuação: não disponível.' : `Pontuação: ${score} de 100.`,
    counts: (critical: number, high: number, medium: number, low: number) =>
      `Problemas: críticos ${critical}, altos ${high}, médios ${medium}, baixos ${low}.`,
    duration: (seconds: string) => `Duração: ${seconds} s.`,
  },
  en: {
    title: {
      [Verdict.PASS]: (name: string) => `Analysis completed: “${name}” conforms`,
      [Verdict.FAIL]: (name: string) => `Analysis completed: “${name}” does not conform`,
      [Verdict.INCOMPLETE]: (name: string) => `Analysis completed: “${name}” could not be fully assessed`,
      [Verdict.UNSPECIFIED]: (name: string) => `Analysis completed: “${name}”`,
    },
    score: (score: number | undefined) =>
      score === undefined ? 'Score: not available.' : `Score: ${score} of 100.`,
    counts: (critical: number, high: number, medium: number, low: number) =>
      `Findings: critical ${critical}, high ${high}, medium ${medium}, low ${low}.`,
    duration: (seconds: string) => `Duration: ${seconds} s.`,
  },
} as const

const completedIn =
  (language: Language) =>
  (event: AnalysisCompleted): Text => {
    const { documentName, documentId, verdict, score, counts, duration } = event
    const text = COMPLETED[language]
    const seconds = duration && msOf(duration) / 1_000
    return {
      title: (text.title[verdict] ?? text.title[Verdict.UNSPECIFIED])(nameOf(documentName || documentId)),
      body: lines(
        text.score(score),
        counts !== undefined && text.counts(counts.critical, counts.high, counts.medium, counts.low),
        seconds !== undefined &&
          text.duration(new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(seconds)),
      ),
    }
  }

export const analysisCompleted: Template<AnalysisCompleted> = {
  'pt-BR': completedIn('pt-BR'),
  en: completedIn('en'),
}

const FAILED = {
  'pt-BR': {
    title: (name: string) => `A análise de “${name}” falhou`,
    step: (step: string, attempts: number) => `Etapa: ${step}; tentativas: ${attempts}.`,
    retryable: 'Iniciar a análise de novo pode resolver.',
  },
  en: {
    title: (name: string) => `The analysis of “${name}” failed`,
    step: (step: string, attempts: number) => `Step: ${step}; attempts: ${attempts}.`,
    retryable: 'Starting the analysis again may help.',
  },
} as const

const failedIn =
  (language: Language) =>
  (event: AnalysisFailed): Text => {
    const { documentName, documentId, failure, attempts } = event
    const text = FAILED[language]
    return {
      title: text.title(nameOf(documentName || documentId)),
      body: lines(
        failure !== undefined && messageOf(failure.message || failure.reason),
        failure !== undefined && failure.step !== '' && text.step(nameOf(failure.step), attempts),
        failure?.retryable === true && text.retryable,
      ),
    }
  }

export const analysisFailed: Template<AnalysisFailed> = { 'pt-BR': failedIn('pt-BR'), en: failedIn('en') }

const SEVERITIES = {
  'pt-BR': { [Severity.CRITICAL]: 'crítico', [Severity.HIGH]: 'alto' },
  en: { [Severity.CRITICAL]: 'critical', [Severity.HIGH]: 'high' },
} as const

const severityIn = (language: Language, severity: Severity): string =>
  (SEVERITIES[language] as Readonly<Record<number, string>>)[severity] ?? String(severity)

const percent = (share: number): string => `${Math.round(share * 100)} %`

export const problemDetected: Template<ProblemDetected> = {
  'pt-BR': ({ documentId, severity, category, ruleId, confidence }) => ({
    title: `Problema ${severityIn('pt-BR', severity)} no documento ${nameOf(documentId)}`,
    body: lines(
      `Tipo: ${nameOf(category)}.`,
      ruleId !== '' && `Regra: ${nameOf(ruleId)}.`,
      `Confiança: ${percent(confidence)}.`,
    ),
  }),
  en: ({ documentId, severity, category, ruleId, confidence }) => ({
    title: `Problem of ${severityIn('en', severity)} severity in document ${nameOf(documentId)}`,
    body: lines(
      `Kind: ${nameOf(category)}.`,
      ruleId !== '' && `Rule: ${nameOf(ruleId)}.`,
      `Confidence: ${percent(confidence)}.`,
    ),
  }),
}

const BATCH = {
  'pt-BR': {
    title: {
      failed: (batch: string, count: number, total: number) =>
        `${batch} concluído com falhas: ${count} de ${total}`,
      cancelled: (batch: string, count: number, total: number) =>
        `${batch} encerrado: ${count} de ${total} canceladas`,
      completed: (batch: string, _: number, total: number) => `${batch} concluído: ${total} documentos`,
    },
    batch: (name: string) => (name ? `Lote “${name}”` : 'Lote'),
    counts: (completed: number, failed: number, cancelled: number, total: number) =>
      `Concluídas: ${completed}; com falha: ${failed}; canceladas: ${cancelled}; total: ${total}.`,
    score: (score: string) => `Pontuação média: ${score} de 100.`,
  },
  en: {
    title: {
      failed: (batch: string, count: number, total: number) =>
        `${batch} completed with failures: ${count} of ${total}`,
      cancelled: (batch: string, count: number, total: number) =>
        `${batch} ended: ${count} of ${total} cancelled`,
      completed: (batch: string, _: number, total: number) => `${batch} completed: ${total} documents`,
    },
    batch: (name: string) => (name ? `Batch “${name}”` : 'Batch'),
    counts: (completed: number, failed: number, cancelled: number, total: number) =>
      `Completed: ${completed}; failed: ${failed}; cancelled: ${cancelled}; total: ${total}.`,
    score: (score: string) => `Mean score: ${score} of 100.`,
  },
} as const

const batchIn =
  (language: Language) =>
  (event: BatchCompleted): Text => {
    const { name, total, completed, failed, cancelled, meanScore } = event
    const text = BATCH[language]
    const state = failed > 0 ? 'failed' : cancelled > 0 ? 'cancelled' : 'completed'
    const score = new Intl.NumberFormat(language, { maximumFractionDigits: 1 })
    return {
      title: text.title[state](text.batch(nameOf(name)), event[state], total),
      body: lines(
        text.counts(completed, failed, cancelled, total),
        meanScore !== undefined && text.score(score.format(meanScore)),
      ),
    }
  }

export const batchCompleted: Template<BatchCompleted> = { 'pt-BR': batchIn('pt-BR'), en: batchIn('en') }

export const documentUnreadable: Template<DocumentTextUnreadable> = {
  'pt-BR': ({ documentId, version, reason }) => ({
    title: `O texto do documento ${nameOf(documentId)} não pôde ser lido`,
    body: `Versão: ${version}; motivo: ${nameOf(reason)}.`,
  }),
  en: ({ documentId, version, reason }) => ({
    title: `The text of document ${nameOf(documentId)} could not be read`,
    body: `Version: ${version}; reason: ${nameOf(reason)}.`,
  }),
}
