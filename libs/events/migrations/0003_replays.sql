-- Who hears of what, as its instances say while they run. Everything of the type up to (handled_xid, handled_position)
-- is dealt with, and its rows of the inbox are gone; deliveries are in order, so one mark stands for them all.
create table subscribers (
  subscriber text not null,
  type text not null,
  last_seen timestamptz not null default now(),
  handled_xid xid8,
  handled_position bigint,
  primary key (subscriber, type)
);

-- Events that a subscriber is to have again: those of one type that were settled when it was asked for. (xid, position)
-- is the last one that it has had; the row goes when there is no other.
create table replays (
  id bigint generated always as identity primary key,
  subscriber text not null,
  type text not null,
  from_position bigint not null,
  to_position bigint not null,
  before_xid xid8 not null,
  xid xid8 not null,
  position bigint not null,
  next_at timestamptz not null default now(),
  requested_at timestamptz not null default now()
);
create index replays_by_subscriber on replays (subscriber, id);

-- What came of requests to repair, so that one that is sent twice counts once.
create table requests (
  id text primary key,
  events bigint not null default 0,
  requested_at timestamptz not null default now()
);

create index inbox_by_age on inbox (handled_at);

-- An id of an inbox as the log knows it. What was sent to a subject past the log may have any id.
create function log_id(event_id text) returns uuid language sql immutable as $$
  select case when event_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then event_id::uuid end
$$;
