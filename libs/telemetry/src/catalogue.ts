/** A label without a fixed list: at most `upTo` different values are kept, later ones become `other`. */
export interface LabelBound {
  readonly upTo: number
  readonly of: string
}

export type MetricType = 'counter' | 'gauge' | 'histogram'

export interface MetricSpec {
  readonly type: MetricType
  readonly unit: string
  readonly help: string
  /** The values a label may have (anything else becomes `other`), or what bounds their number. */
  readonly labels: Readonly<Record<string, readonly string[] | LabelBound>>
  /** Ascending upper bounds of a histogram, in its unit. */
  readonly buckets?: readonly number[]
}

const CALL_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const JOB_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]
const KIB = 1024
const MIB = 1024 * KIB

const GRPC_CODES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const

const MEDIA_TYPES = [
  'application/pdf',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  'application/vnd.oasis.opendocument.text',
  'application/rtf',
  'text/html',
  'text/markdown',
  'text/plain',
  'text/csv',
  'image/png',
  'image/jpeg',
  'image/tiff',
] as const

const grpcMethod = {
  grpc_service: { upTo: 32, of: 'full names of gRPC services' },
  grpc_method: { upTo: 128, of: 'methods of those services' },
} as const
const meshService = { service: { upTo: 64, of: 'services of the mesh' } } as const
const methodClass = {
  ...meshService,
  method_class: { upTo: 16, of: 'classes of methods that share a breaker' },
} as const
const subscriber = { subscriber: { upTo: 32, of: 'durable subscribers' } } as const
const pipeline = { pipeline: { upTo: 64, of: 'pipelines and types of jobs' } } as const
const eventType = { type: { upTo: 128, of: 'full names of event messages' } } as const

/**
 * Every metric of docmesh: the source of truth for code, `docs/metrics.md`, dashboards and rules. Names are
 * `docmesh_<area>_<noun>_<unit>[_total]` in base units; the `grpc_*` names are the ones everyone knows.
 */
export const catalogue = {
  grpc_server_handled_total: {
    type: 'counter',
    unit: 'calls',
    help: 'Calls completed by the server, by status code.',
    labels: { ...grpcMethod, grpc_code: GRPC_CODES },
  },
  grpc_server_handling_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time from the arrival of a call at the server to its status.',
    labels: grpcMethod,
    buckets: CALL_SECONDS,
  },
  grpc_client_handled_total: {
    type: 'counter',
    unit: 'calls',
    help: 'Calls completed by the client, by status code; retries of one call count once.',
    labels: { ...grpcMethod, grpc_code: GRPC_CODES },
  },
  grpc_client_handling_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time from the start of a call at the client to its status, retries included.',
    labels: grpcMethod,
    buckets: CALL_SECONDS,
  },

  docmesh_mesh_endpoints: {
    type: 'gauge',
    unit: 'endpoints',
    help: 'Endpoints known to this client, by state.',
    labels: { ...meshService, state: ['connecting', 'ready', 'ejected', 'unhealthy', 'draining'] },
  },
  docmesh_mesh_picks_total: {
    type: 'counter',
    unit: 'picks',
    help: 'Endpoints chosen by the balancer.',
    labels: meshService,
  },
  docmesh_mesh_ejections_total: {
    type: 'counter',
    unit: 'ejections',
    help: 'Endpoints taken out of rotation, by the rule that did it.',
    labels: {
      ...meshService,
      reason: ['consecutive_failures', 'success_ratio', 'success_rate', 'failure_percentage'],
    },
  },
  docmesh_mesh_breaker_state: {
    type: 'gauge',
    unit: 'state',
    help: 'Circuit breaker of the caller: 0 closed, 1 half-open, 2 open.',
    labels: methodClass,
  },
  docmesh_mesh_breaker_transitions_total: {
    type: 'counter',
    unit: 'transitions',
    help: 'Changes of state of the circuit breaker, by the new state.',
    labels: { ...methodClass, to: ['closed', 'half_open', 'open'] },
  },
  docmesh_mesh_retries_total: {
    type: 'counter',
    unit: 'retries',
    help: 'Retries, by how they ended; `refused` ones were not sent because the budget was spent.',
    labels: { ...meshService, outcome: ['success', 'failure', 'refused'] },
  },
  docmesh_mesh_hedges_total: {
    type: 'counter',
    unit: 'hedges',
    help: 'Second copies of slow calls, by how they ended; `refused` ones were not sent because the budget was spent.',
    labels: { ...meshService, outcome: ['won', 'lost', 'refused'] },
  },
  docmesh_mesh_refused_total: {
    type: 'counter',
    unit: 'calls',
    help: 'Attempts that the caller refused by itself, without touching the network.',
    labels: {
      ...meshService,
      reason: ['circuit_open', 'throttled', 'saturated', 'no_endpoint', 'fault_injected'],
    },
  },
  docmesh_mesh_mirrored_total: {
    type: 'counter',
    unit: 'calls',
    help: 'Copies of calls sent to the mirror of a traffic policy.',
    labels: meshService,
  },
  docmesh_mesh_panic: {
    type: 'gauge',
    unit: 'boolean',
    help: 'Whether so few endpoints are available that their health is ignored: 1, else 0.',
    labels: meshService,
  },
  docmesh_mesh_connections_discarded_total: {
    type: 'counter',
    unit: 'connections',
    help: 'Connections given up because they were stuck connecting.',
    labels: {},
  },
  docmesh_mesh_snapshot_file_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'Age of the snapshot on disk that this client started with; 0 once the registry has answered.',
    labels: {},
  },
  docmesh_mesh_snapshot_revision: {
    type: 'gauge',
    unit: 'revision',
    help: 'Revision of the mesh snapshot that this client follows.',
    labels: {},
  },
  docmesh_mesh_snapshot_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'Time since the watch of the registry broke; 0 while it stands.',
    labels: {},
  },

  docmesh_registry_instances: {
    type: 'gauge',
    unit: 'instances',
    help: 'Instances registered, by state.',
    labels: { ...meshService, state: ['starting', 'serving', 'suspect', 'draining'] },
  },
  docmesh_registry_watchers: {
    type: 'gauge',
    unit: 'streams',
    help: 'Open watch streams.',
    labels: {},
  },
  docmesh_registry_revision: {
    type: 'gauge',
    unit: 'revision',
    help: 'Newest revision of the mesh snapshot.',
    labels: {},
  },

  docmesh_registry_departures_total: {
    type: 'counter',
    unit: 'instances',
    help: 'Instances that left, by why.',
    labels: { reason: ['deregistered', 'stream_lost', 'expired', 'replaced'] },
  },
  docmesh_registry_quarantine: {
    type: 'gauge',
    unit: 'boolean',
    help: 'Whether leases do not expire because this replica has just started: 1, else 0.',
    labels: {},
  },
  docmesh_registry_expiry_guard: {
    type: 'gauge',
    unit: 'boolean',
    help: 'Whether leases do not expire because too many would at once: 1, else 0.',
    labels: {},
  },
  docmesh_registry_updates_encoded_total: {
    type: 'counter',
    unit: 'messages',
    help: 'Updates encoded for watchers; each is sent to every watcher that needs the same one.',
    labels: { kind: ['snapshot', 'delta'] },
  },
  docmesh_registry_incidents_total: {
    type: 'counter',
    unit: 'incidents',
    help: 'Changes of state that callers reported.',
    labels: {
      kind: [
        'endpoint_ejected',
        'endpoint_readmitted',
        'circuit_opened',
        'circuit_half_opened',
        'circuit_closed',
        'panic_started',
        'panic_ended',
      ],
    },
  },
  docmesh_registry_events_dropped_total: {
    type: 'counter',
    unit: 'events',
    help: 'Events of the mesh that were given up because the database was away too long or refused them.',
    labels: {},
  },
  docmesh_registry_replicating: {
    type: 'gauge',
    unit: 'boolean',
    help: 'Whether changes travel between the replicas of the registry: 1, else 0.',
    labels: {},
  },
  docmesh_registry_policies: {
    type: 'gauge',
    unit: 'policies',
    help: 'Traffic policies in force.',
    labels: {},
  },
  docmesh_registry_xds_streams: {
    type: 'gauge',
    unit: 'streams',
    help: 'Open xDS streams, by variant of the protocol.',
    labels: { variant: ['sotw', 'delta'] },
  },
  docmesh_registry_xds_responses_total: {
    type: 'counter',
    unit: 'responses',
    help: 'Answers of xDS clients to what they were sent.',
    labels: { type: ['listener', 'route', 'cluster', 'endpoint'], outcome: ['ack', 'nack'] },
  },

  docmesh_events_published_total: {
    type: 'counter',
    unit: 'events',
    help: 'Events appended to the event store, also those whose transaction failed afterwards.',
    labels: eventType,
  },
  docmesh_events_handled_total: {
    type: 'counter',
    unit: 'events',
    help: 'Events handed to a subscriber, by outcome; `duplicate` ones were seen before and skipped, `replayed` ones succeeded after somebody asked for them again.',
    labels: {
      ...subscriber,
      ...eventType,
      outcome: ['success', 'failure', 'duplicate', 'dead_letter', 'replayed'],
    },
  },
  docmesh_events_delivery_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time from the commit of an event to the end of its handling.',
    labels: subscriber,
    buckets: CALL_SECONDS,
  },
  docmesh_events_dead_letters_total: {
    type: 'counter',
    unit: 'events',
    help: 'Events given up after their last attempt.',
    labels: subscriber,
  },

  docmesh_document_uploads_total: {
    type: 'counter',
    unit: 'uploads',
    help: 'Uploads, by the media type found in the content and outcome.',
    labels: { media_type: MEDIA_TYPES, outcome: ['stored', 'duplicate', 'rejected', 'failure'] },
  },
  docmesh_document_upload_bytes: {
    type: 'histogram',
    unit: 'bytes',
    help: 'Size of stored uploads.',
    labels: {},
    buckets: [KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 50 * MIB],
  },
  docmesh_document_extraction_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time to extract the text of one document.',
    labels: { media_type: MEDIA_TYPES, outcome: ['extracted', 'unreadable', 'failure'] },
    buckets: JOB_SECONDS,
  },
  docmesh_document_extraction_kills_total: {
    type: 'counter',
    unit: 'processes',
    help: 'Extractor processes killed, by the limit that was passed.',
    labels: { reason: ['timeout', 'memory', 'cpu', 'output', 'crash', 'cancelled'] },
  },

  docmesh_analysis_duration_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time from the request of an analysis to its end.',
    labels: { outcome: ['completed', 'failed', 'cancelled'] },
    buckets: JOB_SECONDS,
  },
  docmesh_analysis_conformity_score: {
    type: 'histogram',
    unit: 'points',
    help: 'Conformity score of completed analyses, 0 to 100.',
    labels: {},
    buckets: [10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
  },
  docmesh_analysis_problems_total: {
    type: 'counter',
    unit: 'findings',
    help: 'Findings, by severity and category.',
    labels: {
      severity: ['critical', 'high', 'medium', 'low'],
      category: { upTo: 32, of: 'categories named by rule packs' },
    },
  },
  docmesh_analysis_step_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time of one run of one step of an analysis.',
    labels: {
      step: ['validate', 'queue', 'extract', 'ocr', 'rules', 'ai', 'consolidate', 'quality-check', 'notify'],
      outcome: ['completed', 'skipped', 'failed', 'compensated'],
    },
    buckets: JOB_SECONDS,
  },
  docmesh_analysis_queue_depth: {
    type: 'gauge',
    unit: 'analyses',
    help: 'Analyses waiting for a worker.',
    labels: {},
  },

  docmesh_workflow_runs_total: {
    type: 'counter',
    unit: 'runs',
    help: 'States that runs of pipelines and jobs came into, also in transactions that failed afterwards.',
    labels: {
      ...pipeline,
      state: ['queued', 'running', 'paused', 'compensating', 'completed', 'failed', 'cancelled', 'dead'],
    },
  },
  docmesh_workflow_step_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time of one attempt of one step of a pipeline or job, by how it ended.',
    labels: {
      ...pipeline,
      step: { upTo: 64, of: 'steps of those' },
      outcome: ['completed', 'skipped', 'failed', 'compensated'],
    },
    buckets: JOB_SECONDS,
  },
  docmesh_workflow_queue_depth: {
    type: 'gauge',
    unit: 'runs',
    help: 'Runs that could begin and wait for a place, by queue; read every 5 seconds.',
    labels: { queue: { upTo: 32, of: 'queues of pipelines and jobs' } },
  },
  docmesh_workflow_dead_letters: {
    type: 'gauge',
    unit: 'runs',
    help: 'Runs that were given up and wait to be looked at; read every 5 seconds.',
    labels: pipeline,
  },
  docmesh_workflow_takeovers_total: {
    type: 'counter',
    unit: 'runs',
    help: 'Runs of lost nodes that this one gave back to the queues.',
    labels: {},
  },

  docmesh_notification_deliveries_total: {
    type: 'counter',
    unit: 'deliveries',
    help: 'Attempts to deliver a notification, by channel and outcome.',
    labels: {
      channel: ['in_app', 'email', 'slack', 'teams', 'webhook', 'pagerduty', 'opsgenie'],
      outcome: ['delivered', 'failure', 'duplicate', 'suppressed', 'dead_letter'],
    },
  },
  docmesh_notification_circuits_total: {
    type: 'counter',
    unit: 'changes',
    help: 'Servers that messages go to and that were given a rest (open), or work again (closed).',
    labels: { state: ['open', 'closed'] },
  },

  docmesh_postgres_pool_connections: {
    type: 'gauge',
    unit: 'connections',
    help: 'Connections of the pool, by state; `waiting` counts callers without one.',
    labels: { state: ['active', 'idle', 'waiting'] },
  },
  docmesh_event_loop_lag_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'Delay of the event loop, 99th percentile since the previous scrape.',
    labels: {},
  },
  docmesh_health_check_up: {
    type: 'gauge',
    unit: 'boolean',
    help: 'Last result of a health check: 1 passed, 0 failed.',
    labels: { check: { upTo: 64, of: 'registered health checks' } },
  },
  docmesh_build_info: {
    type: 'gauge',
    unit: 'info',
    help: 'Always 1; the labels say what runs here.',
    labels: {
      service: { upTo: 1, of: 'the service of this process' },
      version: { upTo: 1, of: 'its version' },
    },
  },
} as const satisfies Record<string, MetricSpec>

type Catalogue = typeof catalogue

/** Names of the metrics of one type, or of all. */
export type MetricName<T extends MetricType = MetricType> = {
  [N in keyof Catalogue]: Catalogue[N]['type'] extends T ? N : never
}[keyof Catalogue]

/** The labels that a metric takes: all of them, and no others. */
export type MetricLabels<N extends MetricName> = {
  readonly [L in keyof Catalogue[N]['labels']]: LabelValue<Catalogue[N]['labels'][L]>
}

// `string & {}` keeps the known values as suggestions; an unknown one is counted as `other`.
type LabelValue<B> = B extends readonly (infer V)[] ? V | (string & {}) : string
