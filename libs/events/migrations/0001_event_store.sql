-- What happened, append-only. Readers go by (xid, position) and only below the oldest transaction still running: a
-- row that commits late then comes late, where a plain "position > last" would step over it. Transaction ids belong
-- to one cluster: move this table to another by physical copy (pg_basebackup, replication), not by dump and restore.
create table log (
  position bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  id uuid not null unique,
  type text not null,
  aggregate_type text not null,
  aggregate_id text not null,
  version bigint not null check (version > 0),
  occurred_at timestamptz not null default clock_timestamp(),
  correlation_id text not null,
  causation_id text not null,
  user_id text not null,
  tenant_id text not null,
  traceparent text not null,
  payload bytea not null,
  unique (aggregate_type, aggregate_id, version)
);
create index log_by_commit on log (xid, position);
create index log_by_type on log (type, xid, position);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'the event log is append-only: publish a new event instead';
end $$;
create trigger append_only before update or delete or truncate on log execute function refuse_change();

-- How far each reader of the log has come.
create table cursors (
  name text primary key,
  xid xid8 not null,
  position bigint not null
);

-- What each subscriber has dealt with: an event delivered again changes nothing.
create table inbox (
  subscriber text not null,
  event_id text not null,
  handled_at timestamptz not null default now(),
  primary key (subscriber, event_id)
);

create table attempts (
  subscriber text not null,
  event_id text not null,
  attempts int not null default 1,
  next_at timestamptz not null default now(),
  primary key (subscriber, event_id)
);

create table dead_letters (
  id bigint generated always as identity primary key,
  subscriber text not null,
  event_id text not null,
  type text not null,
  envelope bytea not null,
  reason text not null,
  attempts int not null,
  failed_at timestamptz not null default now(),
  redrive_requested_at timestamptz,
  unique (subscriber, event_id)
);
create index dead_letters_to_redrive on dead_letters (subscriber, type) where redrive_requested_at is not null;
