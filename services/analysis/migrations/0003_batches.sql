create table batches (
  id uuid primary key,
  tenant_id text not null,
  requested_by text not null,
  request_id text,
  name text not null,
  options jsonb not null,
  parallelism int not null,
  state text not null check (state in ('running', 'completed', 'partial', 'failed', 'cancelled')),
  -- Counted as they change: the lock of this row orders all changes of a batch.
  total int not null default 0,
  started int not null default 0,
  completed int not null default 0,
  failed int not null default 0,
  cancelled int not null default 0,
  scored int not null default 0,
  score_sum bigint not null default 0,
  -- Ends of analyses so far, those that a retry had anew included.
  ends int not null default 0,
  created_at timestamptz not null,
  closed_at timestamptz,
  ended_at timestamptz,
  unique (tenant_id, request_id)
);
create index batches_by_tenant on batches (tenant_id, id desc);

create table batch_documents (
  batch_id uuid not null references batches on delete cascade,
  -- From 1 without gaps; they start in this order.
  position int not null,
  document_id uuid not null,
  analysis_id uuid unique,
  state text not null check (state in ('waiting', 'running', 'completed', 'failed', 'cancelled')),
  score int,
  -- Which of the batch's ends this was; the latest when it ended more than once.
  end_number int,
  primary key (batch_id, position),
  unique (batch_id, document_id)
);
create index batch_documents_by_end on batch_documents (batch_id, end_number) where end_number is not null;
create index batch_documents_by_document on batch_documents (document_id);
