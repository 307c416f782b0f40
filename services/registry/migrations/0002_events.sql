-- What was told of each instance last. Every replica sees every instance: the first one that tells of a change writes it
-- here in the same transaction, and the others find it told.
create table instances (
  instance_id text primary key,
  incarnation bigint not null,
  -- starting, serving, suspect, draining or gone
  state text not null,
  unhealthy boolean not null default false,
  -- By the clock of the replica that told of it.
  changed_at timestamptz not null
);

create index instances_gone on instances (changed_at) where state = 'gone';

-- What callers report they report to every replica.
create table reports (
  key text primary key,
  reported_at timestamptz not null default now()
);

create index reports_reported_at on reports (reported_at);
