create table runs (
  id text primary key,
  seq bigint generated always as identity unique,
  pipeline text not null,
  version text not null,
  tenant text not null,
  -- Idempotency key of whoever started it.
  key text,
  parent_id text,
  forked_from text,
  queue text not null,
  priority text not null check (priority in ('low', 'normal', 'high')),
  app_version text not null,
  state text not null
    check (state in ('queued', 'running', 'paused', 'compensating', 'completed', 'failed', 'cancelled', 'dead')),
  -- What a compensating run ends as.
  outcome text check (outcome in ('failed', 'cancelled')),
  input jsonb not null,
  progress int not null default 0 check (progress between 0 and 100),
  failure jsonb,
  -- Names the engine's workflow that may run it now: id:dispatch. Whoever re-queues the run takes the next number.
  dispatch int not null default 1,
  -- The fence: the claim whose execution may write. Null while nobody may.
  owner text,
  begun int not null default 0,
  -- Changes made by executions, so that one whose commit was not answered can tell whether it happened.
  revision int not null default 0,
  due_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz
);
create unique index runs_key on runs (pipeline, tenant, key) where key is not null;
create index runs_tenant on runs (tenant, seq desc);
create index runs_parent on runs (parent_id) where parent_id is not null;
create index runs_open on runs (updated_at) where state in ('queued', 'running', 'compensating');
create index runs_dead on runs (seq) where state = 'dead';
create index runs_ended on runs (ended_at) where ended_at is not null;

-- One row per (run, step): the checkpoint of the step, and the key that lets its effect happen once.
create table steps (
  run_id text not null references runs on delete cascade,
  name text not null,
  pipeline text not null,
  state text not null check (state in ('running', 'completed', 'skipped', 'failed', 'undone')),
  attempts int not null default 0,
  detail text not null default '',
  output jsonb,
  -- {"value": …} once the step's transaction has committed; likewise for its compensation.
  effect jsonb,
  undo_effect jsonb,
  started_at timestamptz,
  ended_at timestamptz,
  primary key (run_id, name)
);
create index steps_history on steps (pipeline, name, ended_at desc) where state = 'completed';

create sequence node_keys as int;
create table nodes (
  id text primary key,
  lock_key int not null unique,
  app_version text not null,
  started_at timestamptz not null default clock_timestamp(),
  beat_at timestamptz not null default clock_timestamp()
);
