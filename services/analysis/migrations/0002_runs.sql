-- The workflow engine runs analyses from here on; this row is what callers see of a run.
alter table analyses
  add batch_id uuid,
  -- Kept when the first one is erased: both are of one document, so they go together.
  add rerun_of uuid,
  add progress int not null default 0 check (progress between 0 and 100),
  -- AnalysisStarted has been published since it was asked for, or retried.
  add started_told boolean not null default false,
  add queued_at timestamptz not null default clock_timestamp(),
  -- Of the canonical text that all its steps read.
  add text_sha256 text,
  -- What the rules found, until it is consolidated and checked.
  add draft jsonb,
  add cancel_reason text,
  drop constraint analyses_state_check,
  add constraint analyses_state_check check (state in ('queued', 'running', 'paused', 'completed', 'failed', 'cancelled'));
drop index analyses_to_run;
update analyses set progress = 100 where state = 'completed';
update analyses set queued_at = created_at;
-- The queue that was here before ends with this version; what stood in it has no run to carry on.
update analyses set state = 'failed', ended_at = clock_timestamp(), failure = jsonb_build_object(
    'step', coalesce((select step->>'name' from jsonb_array_elements(steps) as step where step->>'state' = 'running' limit 1), 'queue'),
    'reason', 'INTERRUPTED',
    'message', 'The service was renewed before the analysis ended: retry it.',
    'retryable', true)
where state in ('queued', 'running');
alter table analyses drop owner, drop lease_until, drop fence, drop attempts;

create index analyses_queued on analyses (tenant_id, priority desc, queued_at) where state = 'queued';
create index analyses_by_batch on analyses (batch_id, id desc) where batch_id is not null;
create index analyses_by_end on analyses (ended_at desc) where state = 'completed';

-- Orders that were carried out, so that one whose answer was lost is not carried out again. No foreign key: it would lock
-- the analysis before its run, and executions take the two locks the other way round.
create table analysis_orders (
  analysis_id uuid not null,
  request_id text not null,
  primary key (analysis_id, request_id)
);
