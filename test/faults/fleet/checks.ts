// What must be true of the tables when all is still. Each query gives a row per violation, a sentence in `violation`.

const FINAL = `('completed', 'failed', 'cancelled')`
const ENDING = `('docmesh.analysis.v1.AnalysisCompleted', 'docmesh.analysis.v1.AnalysisFailed',
  'docmesh.analysis.v1.AnalysisCancelled')`
const QUEUED = `'docmesh.analysis.v1.AnalysisQueued'`
const shortName = (column: string): string => `split_part(${column}, '.', 4)`

/** How late work may be that nobody has in hand before it counts as forgotten. */
const LATE = `interval '10 seconds'`

/** Of one schema that libs/workflow keeps. */
export const runChecks = (schema: string): readonly string[] => [
  `select format('run %s of %s is still %s', id, pipeline, state) as violation from ${schema}.runs
   where state in ('running', 'compensating') or (state = 'queued' and (due_at is null or due_at <= now()))`,

  `select format('run %s of %s is dead: %s', id, pipeline, failure->>'message') as violation
   from ${schema}.runs where state = 'dead'`,

  `select format('run %s is completed, its step %s is %s', r.id, s.name, s.state) as violation
   from ${schema}.runs r join ${schema}.steps s on s.run_id = r.id
   where r.state = 'completed' and s.state not in ('completed', 'skipped')`,

  `select format('run %s is %s, its step %s still runs', r.id, r.state, s.name) as violation
   from ${schema}.runs r join ${schema}.steps s on s.run_id = r.id
   where r.state in ('failed', 'cancelled') and s.state = 'running'`,

  `select format('step %s of run %s has had its effect %s times', name, run_id, count(*)) as violation
   from ${schema}.steps group by run_id, name having count(*) > 1`,
]

const analyses: readonly string[] = [
  `select format('analysis %s is still %s', id, state) as violation from analysis.analyses where state not in ${FINAL}`,

  // The run of an analysis has its id; a dead one is shown as failed.
  `select format('analysis %s is %s, its run is %s', a.id, a.state, coalesce(r.state, 'gone')) as violation
   from analysis.analyses a left join analysis_workflow.runs r on r.id = a.id::text
   where a.state in ${FINAL} and case r.state when 'dead' then 'failed' else r.state end is distinct from a.state`,
]

const batches: readonly string[] = [
  `select format('batch %s is still running', id) as violation from analysis.batches where state = 'running'`,

  `select format('batch %s counts %s/%s/%s/%s and %s points, its documents make %s/%s/%s/%s and %s', b.id, b.total, b.completed,
     b.failed, b.cancelled, b.score_sum, d.total, d.completed, d.failed, d.cancelled, d.score_sum) as violation
   from analysis.batches b cross join lateral (
     select count(*) as total, count(*) filter (where state = 'completed') as completed,
       count(*) filter (where state = 'failed') as failed, count(*) filter (where state = 'cancelled') as cancelled,
       coalesce(sum(score), 0) as score_sum, count(score) as scored
     from analysis.batch_documents where batch_id = b.id) d
   where (b.total, b.completed, b.failed, b.cancelled, b.scored, b.score_sum)
     is distinct from (d.total, d.completed, d.failed, d.cancelled, d.scored, d.score_sum)`,

  `select format('document %s of batch %s is %s, its analysis is %s', d.document_id, d.batch_id, d.state, coalesce(a.state, 'gone'))
     as violation
   from analysis.batch_documents d left join analysis.analyses a on a.id = d.analysis_id and a.batch_id = d.batch_id
   where d.analysis_id is not null and a.state is distinct from d.state`,

  `select format('analysis %s says that it is of batch %s, which does not know it', a.id, a.batch_id) as violation
   from analysis.analyses a where a.batch_id is not null and not exists (
     select from analysis.batch_documents d where d.batch_id = a.batch_id and d.analysis_id = a.id)`,

  `select format('batch %s is %s and its end was announced %s times', b.id, b.state, count(l.id)) as violation
   from analysis.batches b left join events.log l
     on l.aggregate_type = 'batch' and l.aggregate_id = b.id::text and l.type = 'docmesh.analysis.v1.BatchCompleted'
   group by b.id having count(l.id) <> case b.state when 'running' then 0 else 1 end`,
]

/** A job is a run with a number of attempts; one that was run again by hand may have ended before. */
const jobs: readonly string[] = [
  `select format('job %s is %s and its news are %s', r.id, r.state, l.news) as violation
   from analysis_workflow.runs r cross join lateral (
     select coalesce(string_agg(${shortName('type')}, ' ' order by version), 'none') as news
     from events.log where aggregate_type = 'job' and aggregate_id = r.id) l
   where r.max_attempts is not null and r.ended_at is not null and r.order_key is null and l.news !~ case r.state
     when 'completed' then '^JobQueued( JobStarted| JobRetrying)+ JobCompleted$'
     when 'cancelled' then '^JobQueued( JobStarted| JobRetrying)*$'
     else '^JobQueued( JobStarted| JobRetrying)+ JobFailed$' end`,

  `select format('job %s started analysis %s, which is gone', s.run_id, s.output->>'analysis_id') as violation
   from analysis_workflow.steps s join analysis_workflow.runs r on r.id = s.run_id and r.state = 'completed'
   where r.pipeline in ('analysis:start', 'analysis:rerun')
     and not exists (select from analysis.analyses a where a.id::text = s.output->>'analysis_id')`,
]

const events: readonly string[] = [
  `select format('%s %s: version %s comes after %s', aggregate_type, aggregate_id, version, before) as violation
   from (select *, lag(version, 1, 0::bigint) over (partition by aggregate_type, aggregate_id order by version) as before
         from events.log) l
   where version <> before + 1`,

  `select format('%s %s: readers get version %s after version %s', aggregate_type, aggregate_id, version, before) as violation
   from (select *, lag(version) over (partition by aggregate_type, aggregate_id order by xid, position) as before
         from events.log) l
   where version < before`,

  // Each ask is announced once and ends once.
  `select format('analysis %s: %s follows %s', aggregate_id, ${shortName('type')}, coalesce(${shortName('before')}, 'nothing'))
     as violation
   from (select aggregate_id, type, lag(type) over (partition by aggregate_id order by version) as before
         from events.log where type in ${ENDING} or type = ${QUEUED}) l
   where (type in ${ENDING} and before is distinct from ${QUEUED}) or (type = ${QUEUED} and before = ${QUEUED})`,

  `select format('analysis %s was started %s times for %s asks', aggregate_id, started, asked) as violation
   from (select aggregate_id, count(*) filter (where type = 'docmesh.analysis.v1.AnalysisStarted') as started,
           count(*) filter (where type = ${QUEUED}) as asked
         from events.log where aggregate_type = 'analysis' group by aggregate_id) l
   where started > asked`,

  `select format('analysis %s is %s and its last news is %s', a.id, a.state, coalesce(${shortName('l.type')}, 'nothing')) as violation
   from analysis.analyses a left join lateral (
     select type from events.log where aggregate_type = 'analysis' and aggregate_id = a.id::text
       and (type in ${ENDING} or type = ${QUEUED}) order by version desc limit 1) l on true
   where a.state in ${FINAL} and l.type is distinct from 'docmesh.analysis.v1.Analysis' || initcap(a.state)`,

  `select format('event %s %s was not relayed', ${shortName('l.type')}, l.id) as violation
   from events.log l
   where not exists (select from events.cursors c where c.name like 'relay:%' and (l.xid, l.position) <= (c.xid, c.position))`,

  `select format('%s has tried event %s %s times and forgot it', subscriber, event_id, attempts) as violation
   from events.attempts where next_at < now() - ${LATE}`,

  `select format('%s gave up event %s %s: %s', subscriber, ${shortName('type')}, event_id, reason) as violation
   from events.dead_letters`,

  `select format('%s has not had events %s to %s of %s again', subscriber, from_position, to_position, ${shortName('type')})
     as violation
   from events.replays`,

  // Whom an event was for: everybody who subscribes to its type. One mark stands for all that was dealt with before it.
  `select format('%s never dealt with event %s %s', s.subscriber, ${shortName('l.type')}, l.id) as violation
   from events.log l join events.subscribers s on s.type = l.type
   where not exists (select from events.inbox i where i.subscriber = s.subscriber and i.event_id = l.id::text)
     and (l.xid, l.position) <= (s.handled_xid, s.handled_position) is not true`,
]

const notifications: readonly string[] = [
  `select format('user %s was told of event %s %s times', user_id, event_id, count(*)) as violation
   from notification.notifications group by tenant_id, user_id, event_id having count(*) > 1`,

  `select format('user %s gets event %s %s times by %s', n.user_id, n.event_id, count(*), d.channel) as violation
   from notification.deliveries d join notification.notifications n on n.id = d.notification_id
   group by n.tenant_id, n.user_id, n.event_id, d.channel having count(*) > 1`,

  `select format('notification %s was announced %s times', n.id, count(l.id)) as violation
   from notification.notifications n left join events.log l
     on l.aggregate_type = 'notification' and l.aggregate_id = n.id and l.type = 'docmesh.notification.v1.NotificationCreated'
   where n.in_feed group by n.id having count(l.id) <> 1`,

  `select format('delivery %s is %s and was announced %s times', d.id, d.state, count(l.id)) as violation
   from notification.deliveries d left join events.log l
     on l.aggregate_type = 'notification' and l.aggregate_id = d.notification_id
       and l.type = 'docmesh.notification.v1.NotificationDelivered'
   where d.state = 'delivered' group by d.id having count(l.id) <> 1`,

  `select format('delivery %s by %s failed: %s', id, channel, last_error) as violation
   from notification.deliveries where state = 'failed'`,

  `select format('delivery %s by %s is still in the hands of %s', id, channel, lease_id) as violation
   from notification.deliveries where state = 'pending' and lease_id is not null`,

  `select format('delivery %s by %s is late and in nobody''s hands', id, channel) as violation
   from notification.deliveries where state = 'pending' and lease_id is null and next_attempt_at < now() - ${LATE}`,
]

const documents: readonly string[] = [
  `select format('version %s of document %s is still being read', number, document_id) as violation
   from document.versions where extraction_state = 'running'`,

  `select format('document %s: %s texts, %s announcements', v.document_id, v.texts, coalesce(l.told, 0)) as violation
   from (select document_id, count(*) filter (where extraction_state = 'extracted') as texts
         from document.versions group by document_id) v
   left join (select aggregate_id, count(*) as told from events.log
              where type = 'docmesh.document.v1.DocumentTextExtracted' group by aggregate_id) l
     on l.aggregate_id = v.document_id::text
   where v.texts <> coalesce(l.told, 0)`,
]

export const CHECKS: readonly string[] = [
  ...analyses,
  ...batches,
  ...jobs,
  ...events,
  ...notifications,
  ...documents,
]
