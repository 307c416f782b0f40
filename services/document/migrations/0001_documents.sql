create table documents (
  id uuid primary key,
  tenant_id text not null,
  owner_id text not null,
  name text not null,
  tags text[] not null default '{}',
  attributes jsonb not null default '{}',
  current_version int not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  revision bigint not null default 1
);
create index documents_by_tenant on documents (tenant_id, id desc);
create index documents_by_tag on documents using gin (tags);

create table versions (
  document_id uuid not null references documents on delete cascade,
  number int not null,
  sha256 text not null,
  size_bytes bigint not null,
  media_type text not null,
  extraction_state text not null default 'pending'
    check (extraction_state in ('pending', 'running', 'extracted', 'unreadable')),
  extraction_failure text,
  extraction_error text,
  page_count int not null default 0,
  language text not null default '',
  created_at timestamptz not null,
  primary key (document_id, number)
);
create index versions_by_content on versions (sha256);

-- The canonical text of a version, with its layout as the TextLayout message that callers get.
create table texts (
  document_id uuid not null,
  version int not null,
  text text not null,
  layout bytea not null,
  primary key (document_id, version),
  foreign key (document_id, version) references versions on delete cascade
);

-- Completed uploads by the caller's request id, so that a repeated upload gets the first answer.
create table uploads (
  tenant_id text not null,
  request_id text not null,
  document_id uuid not null references documents on delete cascade,
  version int not null,
  completed_at timestamptz not null,
  primary key (tenant_id, request_id)
);

-- Proof of erasure; holds no personal data and outlives the document.
create table receipts (
  id uuid primary key,
  tenant_id text not null,
  document_id uuid not null unique,
  content_sha256 text[] not null,
  reason text not null,
  erased_at timestamptz not null
);
