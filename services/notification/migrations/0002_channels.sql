alter table notifications
  add column severity text not null default 'info' check (severity in ('info', 'warning', 'error', 'critical')),
  -- What begins and ends; empty for what does not. Of two events of an incident, the one with the higher version is later.
  add column incident text not null default '',
  add column incident_version bigint not null default 0,
  add column resolves boolean not null default false,
  -- The event itself, for programs.
  add column facts json not null default '{}';
create index notifications_ends on notifications (tenant_id, user_id, incident, incident_version) where resolves;

alter table deliveries
  -- The server that takes it: while one fails or has enough in hand, what goes there is not claimed.
  add column server text not null default 'smtp',
  -- Deliveries of one thread go out one after the other; empty for alone.
  add column thread text not null default '';
create index deliveries_threads on deliveries (thread, id) where state = 'pending' and thread <> '';

alter table preferences add column digest text not null default 'off' check (digest in ('off', 'hourly', 'daily'));

-- What a digest tells. The digest is a notification itself, outside of the feed, with one delivery.
create table digest_entries (
  digest_id text collate "C" not null references notifications on delete cascade,
  notification_id text collate "C" not null references notifications on delete cascade,
  primary key (digest_id, notification_id)
);
create index digest_entries_by_notification on digest_entries (notification_id);
