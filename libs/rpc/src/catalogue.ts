import { Code } from './codes.ts'

interface Kind {
  readonly code: Code
  readonly retryable: boolean
  readonly severity: 'low' | 'medium' | 'high' | 'critical'
  /** Worth waking somebody when it happens often. */
  readonly alert: boolean
}

/** The sixteen kinds of failure: how each is told on the wire, and whether trying again may help. */
export const ERROR_KINDS = {
  Storage: { code: Code.UNAVAILABLE, retryable: true, severity: 'high', alert: true },
  Authentication: { code: Code.UNAUTHENTICATED, retryable: false, severity: 'medium', alert: false },
  Authorization: { code: Code.PERMISSION_DENIED, retryable: false, severity: 'medium', alert: false },
  Validation: { code: Code.INVALID_ARGUMENT, retryable: false, severity: 'low', alert: false },
  Cryptographic: { code: Code.INTERNAL, retryable: false, severity: 'critical', alert: true },
  Kms: { code: Code.UNAVAILABLE, retryable: true, severity: 'critical', alert: true },
  Database: { code: Code.UNAVAILABLE, retryable: true, severity: 'high', alert: true },
  RateLimit: { code: Code.RESOURCE_EXHAUSTED, retryable: true, severity: 'low', alert: false },
  NotFound: { code: Code.NOT_FOUND, retryable: false, severity: 'low', alert: false },
  Conflict: { code: Code.ABORTED, retryable: false, severity: 'low', alert: false },
  Configuration: { code: Code.FAILED_PRECONDITION, retryable: false, severity: 'high', alert: true },
  Network: { code: Code.UNAVAILABLE, retryable: true, severity: 'medium', alert: true },
  Timeout: { code: Code.DEADLINE_EXCEEDED, retryable: true, severity: 'medium', alert: true },
  Internal: { code: Code.INTERNAL, retryable: false, severity: 'critical', alert: true },
  ExternalService: { code: Code.UNAVAILABLE, retryable: true, severity: 'medium', alert: true },
  QuotaExceeded: { code: Code.RESOURCE_EXHAUSTED, retryable: false, severity: 'low', alert: false },
} as const satisfies Record<string, Kind>

export type ErrorKind = keyof typeof ERROR_KINDS

interface Entry {
  readonly kind: ErrorKind
  /** Where the reason asks for another code than its kind. */
  readonly code?: Code
  readonly help: string
}

/** Every reason that docmesh puts into ErrorInfo, with what the reader can do. `docs/errors.md` lists the same. */
export const ERRORS = {
  INVALID_REQUEST: { kind: 'Validation', help: 'Correct the fields named in the details.' },
  MALFORMED_MESSAGE: {
    kind: 'Validation',
    help: 'The bytes are not the message that the method takes: regenerate the client from the protos.',
  },
  INVALID_PAGE_TOKEN: { kind: 'Validation', help: 'Use next_page_token of the previous answer unchanged.' },
  EMPTY_DOCUMENT: { kind: 'Validation', help: 'Upload a file that has content.' },
  UNSUPPORTED_TYPE: { kind: 'Validation', help: 'Upload PDF, DOCX, HTML, Markdown or plain text.' },
  CHECKSUM_MISMATCH: {
    kind: 'Validation',
    help: 'The bytes that arrived differ from the checksum: upload again.',
  },
  SIZE_MISMATCH: { kind: 'Validation', help: 'The upload ended early or late: upload again.' },
  DOCUMENT_TOO_LARGE: { kind: 'QuotaExceeded', help: 'Upload a smaller file, or raise DOCUMENT_MAX_BYTES.' },
  UPLOAD_OFFSET_MISMATCH: {
    kind: 'Validation',
    code: Code.OUT_OF_RANGE,
    help: 'Ask GetUploadStatus and resume from there.',
  },
  DOCUMENT_NOT_FOUND: {
    kind: 'NotFound',
    help: 'Check the id; `docmesh documents list` shows the documents.',
  },
  UPLOAD_NOT_FOUND: { kind: 'NotFound', help: 'Begin the upload from offset 0.' },
  STALE_ETAG: {
    kind: 'Conflict',
    help: 'Somebody else changed it first: read it again and repeat the change.',
  },
  DOCUMENT_UNREADABLE: {
    kind: 'Validation',
    code: Code.FAILED_PRECONDITION,
    help: 'The message says why the text cannot be had.',
  },
  UNKNOWN_RULE_PACK: { kind: 'Validation', help: 'ListRulePacks shows the packs and their versions.' },
  ANALYSIS_NOT_FOUND: { kind: 'NotFound', help: 'Check the id.' },
  ANALYSIS_NOT_COMPLETED: {
    kind: 'Conflict',
    code: Code.FAILED_PRECONDITION,
    help: 'Wait with WatchAnalysis until it is completed.',
  },
  ANALYSIS_ENDED: {
    kind: 'Conflict',
    code: Code.FAILED_PRECONDITION,
    help: 'An ended analysis cannot change: start a new one.',
  },
  ANALYSIS_NOT_ENDED: {
    kind: 'Conflict',
    code: Code.FAILED_PRECONDITION,
    help: 'Wait with WatchAnalysis until it has ended, or cancel it.',
  },
  ANALYSIS_NOT_PAUSED: {
    kind: 'Conflict',
    code: Code.FAILED_PRECONDITION,
    help: 'Only a paused analysis can be resumed.',
  },
  BATCH_NOT_FOUND: { kind: 'NotFound', help: 'Check the id; `docmesh batches list` shows the batches.' },
  BATCH_CLOSED: {
    kind: 'Conflict',
    code: Code.FAILED_PRECONDITION,
    help: 'A batch is complete when its stream has ended, or when it was cancelled: make another one.',
  },
  EMPTY_BATCH: { kind: 'Validation', help: 'Send the id of at least one document after the header.' },
  BATCH_TOO_LARGE: { kind: 'QuotaExceeded', help: 'Make several batches.' },
  JOB_NOT_FOUND: { kind: 'NotFound', help: 'Check the id; `docmesh jobs list` shows the jobs.' },
  JOB_NOT_DEAD: {
    kind: 'Conflict',
    code: Code.FAILED_PRECONDITION,
    help: 'Only a job that is dead can be run again: queue a new one.',
  },
  NOTIFICATION_NOT_FOUND: { kind: 'NotFound', help: 'Check the id.' },
  DELIVERY_NOT_FOUND: { kind: 'NotFound', help: 'Check the id; ListDeliveries shows them.' },
  DELIVERY_NOT_FAILED: {
    kind: 'Conflict',
    code: Code.FAILED_PRECONDITION,
    help: 'Only a failed delivery can be sent again.',
  },
  CHANNEL_NOT_CONFIGURED: {
    kind: 'Configuration',
    help: 'Set the channel up in the environment and the preferences first.',
  },
  INSTANCE_NOT_FOUND: { kind: 'NotFound', help: 'Register again.' },
  STALE_INCARNATION: { kind: 'Conflict', help: 'A newer process uses this instance id: end this one.' },
  INSTANCE_EXISTS: {
    kind: 'Conflict',
    code: Code.ALREADY_EXISTS,
    help: 'Another process holds this instance id: choose another one, or a higher incarnation to replace it.',
  },
  LEASE_MISMATCH: {
    kind: 'Authorization',
    help: 'Only the holder may renew or end a lease: send the token that the lease came with.',
  },
  POLICY_NOT_FOUND: { kind: 'NotFound', help: 'The service has the default policy.' },
  POLICIES_NOT_CONFIGURED: {
    kind: 'Configuration',
    help: 'Traffic policies are kept in PostgreSQL: start the registry with DATABASE_URL.',
  },
  SUBSCRIBER_NOT_FOUND: {
    kind: 'NotFound',
    help: 'Use a name that the message lists: a subscriber is known while its service runs, and a month after.',
  },
  EVENTS_NOT_CONFIGURED: {
    kind: 'Configuration',
    help: 'Events are kept in PostgreSQL: start the registry with DATABASE_URL.',
  },
  METHOD_UNIMPLEMENTED: {
    kind: 'Internal',
    code: Code.UNIMPLEMENTED,
    help: 'The contract has the method, this version does not: see the status table of the README.',
  },
  NO_ENDPOINT: {
    kind: 'Network',
    help: 'No instance of the service is available: `docmesh services` shows the mesh.',
  },
  CIRCUIT_OPEN: {
    kind: 'ExternalService',
    help: 'The service fails too often: wait for the time in RetryInfo.',
  },
  THROTTLED: {
    kind: 'ExternalService',
    help: 'The service refuses most calls, so the caller did not ask: send fewer, or wait.',
  },
  FAULT_INJECTED: {
    kind: 'ExternalService',
    help: 'The traffic policy of the service injects this fault: `docmesh mesh traffic` shows it.',
  },
  DEPENDENCY_UNAVAILABLE: {
    kind: 'ExternalService',
    help: 'A service behind this one is not available: try again.',
  },
  DEADLINE_EXCEEDED: { kind: 'Timeout', help: 'Try again with a longer deadline.' },
  CANCELLED: { kind: 'Network', code: Code.CANCELLED, help: 'The caller gave up.' },
  OVERLOADED: {
    kind: 'RateLimit',
    help: 'The instance has too much to do: try again, another one may answer.',
  },
  METADATA_TOO_LARGE: {
    kind: 'QuotaExceeded',
    help: 'Send less metadata: names and values together may have 16 KiB.',
  },
  SHUTTING_DOWN: { kind: 'Network', help: 'The instance is ending: another one will answer.' },
  DATABASE_UNAVAILABLE: { kind: 'Database', help: 'The database does not answer: try again.' },
  STORAGE_UNAVAILABLE: {
    kind: 'Storage',
    help: 'The blob store cannot write: check the disk and its rights.',
  },
  STORAGE_FULL: {
    kind: 'Storage',
    code: Code.RESOURCE_EXHAUSTED,
    help: 'The disk of the blob store is full: make room, then upload again.',
  },
  INTERNAL: { kind: 'Internal', help: 'Give the request id to the operators: the log has the cause.' },
} as const satisfies Record<string, Entry>

export type Reason = keyof typeof ERRORS

export const codeOf = (reason: Reason): Code => {
  const entry: Entry = ERRORS[reason]
  return entry.code ?? ERROR_KINDS[entry.kind].code
}

export const isRetryable = (reason: Reason): boolean => ERROR_KINDS[ERRORS[reason].kind].retryable
