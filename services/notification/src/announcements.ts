// Which events somebody is told of, whom, how urgent it is, and in which words.
import { Severity as FindingSeverity } from '@docmesh/contracts/analysis/v1/analysis'
import {
  AnalysisCompleted,
  AnalysisFailed,
  BatchCompleted,
  ProblemDetected,
} from '@docmesh/contracts/analysis/v1/events'
import { DocumentTextUnreadable } from '@docmesh/contracts/document/v1/events'
import {
  BackupFailed,
  DeploymentFailed,
  DeploymentRollbackStarted,
  JobFailed,
  RestoreFailed,
  SystemHealthChecked,
  SystemRecoveryCompleted,
} from '@docmesh/contracts/ops/v1/events'
import {
  ServiceDeregistered,
  ServiceRecovered,
  ServiceUnhealthy,
} from '@docmesh/contracts/registry/v1/events'
import type { Event, MessageType } from '@docmesh/events'
import type { Severity } from './model.ts'
import * as documents from './templates/documents.ts'
import * as operations from './templates/operations.ts'
import type { Language, Text } from './templates/text.ts'

/** What people are told of one event. */
export interface Announcement {
  /** One user, who may be unknown, or those who look after the installation. */
  readonly to: { readonly userId: string } | 'operators'
  readonly severity: Severity
  readonly subject: { readonly type: string; readonly id: string }
  /** Erased together with this document; empty when it is about none. */
  readonly documentId: string
  /** Language asked for; empty for none. */
  readonly locale: string
  /** Only by channels that name the event: it does not say whether its user asked to be told. */
  readonly onlyIfNamed: boolean
  /** Whether the event begins or ends the incident of its subject; undefined for neither. */
  readonly incident: 'begins' | 'ends' | undefined
  readonly text: (language: Language) => Text
}

type Told = Pick<Announcement, 'to' | 'severity' | 'subject' | 'text'> & Partial<Announcement>
type Describe<T> = (event: Event<T>) => Told | undefined

export interface Announced {
  readonly type: MessageType
  /** Undefined when nobody is told. */
  readonly announce: (event: Event) => Announcement | undefined
  /** The event for programs, as JSON. */
  readonly facts: (event: Event) => unknown
}

/** A generated message, and its JSON form. */
type Message<T> = MessageType<T> & { toJSON(message: T): unknown }

const announced = <T>(type: Message<T>, describe: Describe<T>): Announced => ({
  type,
  announce: (event) => {
    const told = describe(event as Event<T>)
    return told && { documentId: '', locale: '', onlyIfNamed: false, incident: undefined, ...told }
  },
  facts: (event) => type.toJSON(event.payload as T),
})

/** Whoever runs the installation is told of its operation. */
const toOperators = <T>(
  type: Message<T>,
  severity: Severity,
  subject: (payload: T) => Announcement['subject'],
  template: Readonly<Record<Language, (about: T) => Text>>,
  more: (payload: T) => Partial<Announcement> | undefined = () => ({}),
): Announced =>
  announced(type, ({ payload }) => {
    const rest = more(payload)
    return (
      rest && {
        to: 'operators',
        severity,
        subject: subject(payload),
        text: (language) => template[language](payload),
        ...rest,
      }
    )
  })

const analysisSubject = ({ analysisId }: { analysisId: string }) => ({ type: 'analysis', id: analysisId })
const instanceSubject = ({ instanceId }: { instanceId: string }) => ({ type: 'instance', id: instanceId })
const deploymentSubject = ({ deploymentId }: { deploymentId: string }) => ({
  type: 'deployment',
  id: deploymentId,
})

const PROBLEMS: Readonly<Record<number, Severity>> = {
  [FindingSeverity.CRITICAL]: 'error',
  [FindingSeverity.HIGH]: 'warning',
}

export const ANNOUNCED: readonly Announced[] = [
  announced(AnalysisCompleted, ({ payload }) =>
    payload.notify
      ? {
          to: { userId: payload.requestedBy },
          severity: 'info',
          subject: analysisSubject(payload),
          documentId: payload.documentId,
          locale: payload.locale,
          text: (language) => documents.analysisCompleted[language](payload),
        }
      : undefined,
  ),
  announced(AnalysisFailed, ({ payload }) =>
    payload.notify
      ? {
          to: { userId: payload.requestedBy },
          severity: 'error',
          subject: analysisSubject(payload),
          documentId: payload.documentId,
          locale: payload.locale,
          text: (language) => documents.analysisFailed[language](payload),
        }
      : undefined,
  ),
  announced(ProblemDetected, ({ payload, userId }) => {
    const severity = PROBLEMS[payload.severity]
    return (
      severity && {
        to: { userId },
        severity,
        subject: analysisSubject(payload),
        documentId: payload.documentId,
        onlyIfNamed: true,
        text: (language) => documents.problemDetected[language](payload),
      }
    )
  }),
  announced(BatchCompleted, ({ payload }) =>
    payload.notify
      ? {
          to: { userId: payload.requestedBy },
          severity: payload.failed > 0 ? 'warning' : 'info',
          subject: { type: 'batch', id: payload.batchId },
          locale: payload.locale,
          text: (language) => documents.batchCompleted[language](payload),
        }
      : undefined,
  ),
  announced(DocumentTextUnreadable, ({ payload, userId }) => ({
    to: { userId },
    severity: 'warning',
    subject: { type: 'document', id: payload.documentId },
    documentId: payload.documentId,
    onlyIfNamed: true,
    text: (language) => documents.documentUnreadable[language](payload),
  })),
  toOperators(ServiceUnhealthy, 'error', instanceSubject, operations.serviceUnhealthy, () => ({
    incident: 'begins',
  })),
  toOperators(ServiceRecovered, 'info', instanceSubject, operations.serviceRecovered, () => ({
    incident: 'ends',
  })),
  toOperators(
    ServiceDeregistered,
    'info',
    instanceSubject,
    operations.serviceGone,
    ({ unhealthy }) => (unhealthy ? { incident: 'ends' } : undefined), // instances come and go
  ),
  toOperators(
    SystemHealthChecked,
    'error',
    ({ check }) => ({ type: 'check', id: check }),
    operations.healthChecked,
    ({ healthy }) => (healthy ? { severity: 'info', incident: 'ends' } : { incident: 'begins' }),
  ),
  toOperators(
    SystemRecoveryCompleted,
    'critical',
    ({ recoveryId }) => ({ type: 'recovery', id: recoveryId }),
    operations.recoveryFailed,
    ({ succeeded }) => (succeeded ? undefined : {}),
  ),
  toOperators(JobFailed, 'error', ({ jobId }) => ({ type: 'job', id: jobId }), operations.jobFailed),
  toOperators(
    BackupFailed,
    'error',
    ({ backupId }) => ({ type: 'backup', id: backupId }),
    operations.backupFailed,
  ),
  toOperators(
    RestoreFailed,
    'critical',
    ({ restoreId }) => ({ type: 'restore', id: restoreId }),
    operations.restoreFailed,
  ),
  toOperators(DeploymentFailed, 'critical', deploymentSubject, operations.deploymentFailed),
  toOperators(DeploymentRollbackStarted, 'warning', deploymentSubject, operations.rollbackStarted),
]

/** Events that people can choose to be told of. */
export const EVENT_TYPES: readonly string[] = ANNOUNCED.map(({ type }) => type.$type)
