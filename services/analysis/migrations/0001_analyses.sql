create table analyses (
  id uuid primary key,
  tenant_id text not null,
  requested_by text not null,
  request_id text,
  document_id uuid not null,
  document_version int not null,
  document_name text not null,
  options jsonb not null,
  priority int not null,
  rule_packs jsonb not null default '[]',
  state text not null check (state in ('queued', 'running', 'completed', 'failed', 'cancelled')),
  steps jsonb not null,
  outcome jsonb,
  findings jsonb,
  failure jsonb,
  created_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz,
  -- Who runs it and until when nobody else may; the fence grows with every change of hands, and a worker that comes back
  -- with an older one can write nothing.
  owner text,
  lease_until timestamptz,
  fence bigint not null default 0,
  attempts int not null default 0,
  unique (tenant_id, request_id)
);
create index analyses_by_tenant on analyses (tenant_id, id desc);
create index analyses_by_document on analyses (document_id);
create index analyses_to_run on analyses (priority desc, id) where state in ('queued', 'running');
