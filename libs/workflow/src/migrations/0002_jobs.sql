-- A job is a run whose input anybody may send: max_attempts is set for jobs alone.
alter table runs
  -- Higher first.
  add rank int not null default 0,
  add max_attempts int check (max_attempts between 1 and 100),
  add requested_by text,
  -- When it was to run; due_at moves with every attempt.
  add scheduled_for timestamptz,
  add cron text,
  -- Id of the first run of a schedule. Taken from a run that is run again by hand: its schedule has gone on.
  add series text,
  -- Idempotency key of the last order to run it again.
  add order_key text;
update runs set rank = case priority when 'high' then 10 when 'low' then -10 else 0 end;

-- However nodes die, a schedule has one run to come or under way.
create unique index runs_series on runs (series) where series is not null and ended_at is null;
create index runs_of_series on runs (series, seq desc) where series is not null;
create index runs_jobs on runs (tenant, seq desc) where max_attempts is not null;
create index runs_versions on runs (app_version) where state = 'queued' and max_attempts is not null;
create index runs_waiting on runs (queue) where state = 'queued';
