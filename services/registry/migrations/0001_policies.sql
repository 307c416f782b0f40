-- Revisions are given out in the order of the commits: writers take turns (see policy-store.ts). They are never used
-- again, so that an etag from before a deletion cannot fit what came after it.
create sequence policy_revisions;

create table policies (
  service text primary key,
  -- TrafficPolicy message without etag and revision.
  policy bytea not null,
  revision bigint not null,
  request_id text not null,
  updated_at timestamptz not null
);
