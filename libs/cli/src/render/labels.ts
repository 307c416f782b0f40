import { Severity, Verdict } from '@docmesh/contracts/analysis/v1/analysis'

export const LOCALES = ['pt-BR', 'en'] as const
export type Locale = (typeof LOCALES)[number]

export interface Labels {
  readonly severities: Readonly<Record<Severity, string>>
  readonly verdicts: Readonly<Record<Verdict, string>>
  readonly score: string
  readonly noScore: string
  readonly version: string
  readonly page: string
  readonly howScored: string
  readonly finding: string
  readonly findings: string
  readonly counted: string
  readonly nothingFound: string
  readonly suppressed: string
  readonly mend: string
  readonly basis: string
  readonly coverage: string
  readonly rulesRun: string
  readonly notApplicable: string
  readonly notAssessed: string
  readonly pagesRead: string
  readonly recognition: string
}

export const LABELS: Readonly<Record<Locale, Labels>> = {
  en: {
    severities: {
      [Severity.UNSPECIFIED]: 'Unrated',
      [Severity.LOW]: 'Low',
      [Severity.MEDIUM]: 'Medium',
      [Severity.HIGH]: 'High',
      [Severity.CRITICAL]: 'Critical',
    },
    verdicts: {
      [Verdict.UNSPECIFIED]: 'UNKNOWN',
      [Verdict.PASS]: 'PASS',
      [Verdict.FAIL]: 'FAIL',
      [Verdict.INCOMPLETE]: 'INCOMPLETE',
    },
    score: 'Score',
    noScore: 'no score',
    version: 'version',
    page: 'page',
    howScored: 'How the score came about',
    finding: 'finding',
    findings: 'findings',
    counted: 'counted',
    nothingFound: 'Nothing to correct.',
    suppressed: 'suppressed',
    mend: 'To mend it:',
    basis: 'Basis:',
    coverage: 'What was checked',
    rulesRun: 'rules checked',
    notApplicable: 'not applicable',
    notAssessed: 'not assessed',
    pagesRead: 'pages read',
    recognition: 'confidence of the character recognition',
  },
  'pt-BR': {
    severities: {
      [Severity.UNSPECIFIED]: 'Sem gravidade',
      [Severity.LOW]: 'Baixo',
      [Severity.MEDIUM]: 'Médio',
      [Severity.HIGH]: 'Alto',
      [Severity.CRITICAL]: 'Crítico',
    },
    verdicts: {
      [Verdict.UNSPECIFIED]: 'DESCONHECIDO',
      [Verdict.PASS]: 'CONFORME',
      [Verdict.FAIL]: 'NÃO CONFORME',
      [Verdict.INCOMPLETE]: 'INCOMPLETO',
    },
    score: 'Nota',
    noScore: 'sem nota',
    version: 'versão',
    page: 'página',
    howScored: 'Como a nota foi calculada',
    finding: 'achado',
    findings: 'achados',
    counted: 'contados',
    nothingFound: 'Nada a corrigir.',
    suppressed: 'suprimidos',
    mend: 'O que fazer:',
    basis: 'Base:',
    coverage: 'O que foi verificado',
    rulesRun: 'regras verificadas',
    notApplicable: 'não se aplicam',
    notAssessed: 'não verificadas',
    pagesRead: 'páginas lidas',
    recognition: 'confiança do reconhecimento de caracteres',
  },
}
