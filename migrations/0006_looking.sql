-- Looking: what a dashboard shows without counting.

alter table workers
  add column vitals jsonb not null default '{}';                  -- what it said of itself last: crawler/core/vitals.py

-- Attempts by minute, of the last two days: what is shown of speed and outcomes over time, and where to look for an attempt.
create table fetch_minutes (
  minute   timestamptz not null,
  crawl_id int not null,
  outcome  text not null,
  fetches  bigint not null,
  bytes    bigint not null,
  ms       bigint not null,                                       -- of all of them together
  constraint "a minute of a crawl is counted once by outcome" primary key (minute, crawl_id, outcome),
  constraint "a minute belongs to a crawl" foreign key (crawl_id) references crawls on delete cascade
);

-- "What happened lately" is asked of the BRIN index on fetches.at. What it does not know yet is read whole, and that was up to a fifth of a
-- day, for autovacuum alone told it. Now each filled range is told to it within a minute or so; new partitions are made like that.
do $$
declare part regclass;
begin
  for part in
    select i.inhrelid::regclass from pg_inherits i where i.inhparent = 'fetches_at'::regclass
  loop
    execute format('alter index %s set (autosummarize = on)', part);
  end loop;
end $$;
