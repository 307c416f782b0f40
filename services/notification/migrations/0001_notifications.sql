-- Numbers each user's notifications. The row lock lasts until the commit, so numbers become visible in order: a watcher
-- that has seen number n never misses a smaller one that commits later.
create table feeds (
  tenant_id text not null,
  user_id text not null,
  last_seq bigint not null,
  primary key (tenant_id, user_id)
);

create table notifications (
  id text collate "C" primary key,
  tenant_id text not null,
  user_id text not null,
  seq bigint not null,
  event_id text not null,
  correlation_id text not null,
  event_type text not null,
  subject_type text not null,
  subject_id text not null,
  document_id text not null,
  title text not null,
  body text not null,
  locale text not null,
  -- False for one that only goes outside: its user switched the feed off, or it is a test.
  in_feed boolean not null,
  created_at timestamptz not null default now(),
  read_at timestamptz,
  unique (tenant_id, user_id, event_id),
  unique (tenant_id, user_id, seq)
);
create index notifications_unread on notifications (tenant_id, user_id) where in_feed and read_at is null;
create index notifications_by_document on notifications (document_id);

create table deliveries (
  id text collate "C" primary key,
  notification_id text collate "C" not null references notifications on delete cascade,
  channel text not null,
  destination text not null,
  state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
  attempts int not null default 0,
  last_error text not null default '',
  next_attempt_at timestamptz default now(),
  delivered_at timestamptz,
  created_at timestamptz not null default now(),
  -- Who works on it, and until when nobody else may. The id fences off a worker that comes back too late.
  lease_id text,
  lease_until timestamptz,
  retry_request_id text,
  unique (notification_id, channel),
  check ((state = 'pending') = (next_attempt_at is not null)),
  check ((state = 'delivered') = (delivered_at is not null))
);
create index deliveries_due on deliveries (next_attempt_at) where state = 'pending';

create table preferences (
  tenant_id text not null,
  user_id text not null,
  locale text not null,
  channels jsonb not null,
  quiet_hours jsonb,
  primary key (tenant_id, user_id)
);

-- An event of a document can arrive after the document's erasure: it must leave nothing here.
create table erased_documents (
  document_id text primary key,
  erased_at timestamptz not null default now()
);
