-- Append-only, but for erasure: a payload and the user may go; that something happened, and when, stays.
drop trigger append_only on log;
create trigger append_only before delete or truncate on log execute function refuse_change();
create trigger erasure_only before update on log for each row
  when (
    new.payload <> '' or new.user_id <> ''
    or (new.position, new.xid, new.id, new.type, new.aggregate_type, new.aggregate_id, new.version, new.occurred_at,
        new.correlation_id, new.causation_id, new.tenant_id, new.traceparent)
      is distinct from
       (old.position, old.xid, old.id, old.type, old.aggregate_type, old.aggregate_id, old.version, old.occurred_at,
        old.correlation_id, old.causation_id, old.tenant_id, old.traceparent))
  execute function refuse_change();
