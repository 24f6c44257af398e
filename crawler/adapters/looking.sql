-- Looking: what metrics, the dashboard and its API ask. These statements only read, and no worker asks them. As in queries.sql: named, one round
-- trip, the reason above it.
--
-- LAW: each looks at a bounded number of rows, whatever the tables hold: by key, by an index up to a limit, or through the few rows of
-- fetch_minutes. None counts URLs, pages or attempts by reading them all. tests/adapters/test_plans.py and tests/bench/looking.py see to that.

-- name: look_around
-- First in a transaction of who only looks (Database.looking). $1 milliseconds for each statement. By indexes, whatever the statistics say; joins and
-- bitmaps are free, for what happened lately is found by a BRIN index; it is not sorted to be summed up, which the planner, whose statistics know
-- nothing of the last minutes, takes for cheap. One processor: the others belong to the crawl.
select set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'on', true),
  set_config('enable_hashjoin', 'on', true), set_config('max_parallel_workers_per_gather', '0', true),
  set_config('enable_sort', 'off', true), set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: look_frontier
-- $1 how far is counted. Domains that could be visited now, that rest, that are on the queue, that are held. The lines as in dispatch; the index
-- domains_due gives who is ready, and those that rest are among the next of it: they have something due already. Of those it looks at the first $1
-- of each line, for behind them come the many that only wait for their time. What is queued or held is few, and has an index of its own.
with recursive lines(due_for) as (
  (select min(due_for) from domains where next_at is not null)
  union all
  select (select min(d.due_for) from domains d where d.next_at is not null and d.due_for > l.due_for) from lines l
  where l.due_for is not null)
select
  (select count(*) from (
     select from lines l cross join lateral (
       select from domains d where d.due_for = l.due_for and d.next_at <= now() limit $1) d limit $1) x) as ready,
  (select least($1, count(*) filter (where x.due_at <= now() and x.holder is null)) from (
     select d.due_at, d.holder from lines l cross join lateral (
       select d.due_at, d.holder from domains d where d.due_for = l.due_for and d.next_at > now() order by d.next_at limit $1) d
     limit 2 * $1) x) as resting,
  q.queued, q.held,
  (select extract(epoch from min(f.next_at) - now())::float8 from lines l cross join lateral (
     select d.next_at from domains d where d.due_for = l.due_for and d.next_at > now() order by d.next_at limit 1) f) as next_in,
  now() as now
from (select least($1, count(*) filter (where holder = 'queue')) as queued, least($1, count(*) filter (where holder <> 'queue')) as held
      from (select holder from domains where holder is not null and ready_at > now() limit 4 * $1) h) q;

-- name: look_outcomes
-- URLs of all crawls by outcome ('': none yet), of the counters.
select outcome, sum(urls)::bigint as urls, sum(fetches)::bigint as fetches, sum(bytes)::bigint as bytes
from crawl_counts group by 1 having sum(urls) <> 0 or sum(fetches) <> 0 order by 1;

-- name: look_crawls
-- Crawls by state, as `crawl list` names it.
select case when deleting then 'deleting' when state = 'paused' and attendant = 'left' then 'left' else state end as state, count(*) as crawls
from crawls group by 1 order by 1;

-- name: look_deleting
select crawl_id from crawls where deleting order by crawl_id;

-- name: look_manners
-- The user agents of the crawls that run, at most $1 of them, each with the least delay and the most requests at once that it may come with.
select user_agent, min(delay) as delay, max(per_domain) as per_domain from crawls where state = 'running' and not deleting
group by 1 order by 1 nulls first limit $1;

-- name: look_workers
-- Everybody who signed in, as workers_shown, with what each said of itself last.
select w.worker_id, w.host, w.pid, w.version, w.slots, w.queue, w.started_at, w.seen_at, w.vitals::text as vitals,
  w.seen_at <= now() - interval '1 minute' as silent, extract(epoch from now() - w.seen_at)::float8 as seen_ago,
  coalesce(h.n, 0) as visiting, now() as now
from workers w left join (
  select holder, count(*) as n from domains where holder is not null and holder <> 'queue' and ready_at > now() group by 1) h
on h.holder = w.worker_id
order by w.host, w.started_at, w.worker_id;

-- name: look_bytes
select pg_database_size(current_database());

-- name: look_recent
-- Attempts of the last $1 seconds, of crawl $2 (null: all): how fast it is going, where no worker has said so yet. By the BRIN index on at.
select count(*) filter (where outcome in ('ok', 'not_modified'))::int as pages, count(*)::int as fetches, coalesce(sum(bytes), 0)::bigint as bytes
from fetches where at > now() - make_interval(secs => $1) and ($2::int is null or crawl_id = $2);

-- === attempts over time

-- name: look_counted
-- How far attempts are counted: from this hour on by no hour, and from this minute on by no minute. At most the last five minutes are then read
-- from fetches. If the counting is further behind, what lies between is its business, and no reason to read more.
select now() as now, date_trunc('hour', now() - interval '2 days', 'UTC') as minutes_since,
  greatest((select max(minute) + interval '1 minute' from fetch_minutes), date_trunc('minute', now() - interval '5 minutes', 'UTC')) as minute,
  (select max(h.hour) + interval '1 hour' from crawls c cross join lateral (
     select hour from fetch_hours h where h.crawl_id = c.crawl_id order by hour desc limit 1) h) as hour,
  coalesce((select sum(fetches) from fetch_minutes m where m.minute = (select max(minute) from fetch_minutes)), 0)::bigint as last_minute;

-- name: look_hours
-- $1 where the first step begins, $2 to, $3 seconds of a step, $4 crawl (null: all), $5 from.
select date_bin(make_interval(secs => $3), h.hour, $1) as at, h.outcome, sum(h.fetches)::bigint as fetches, sum(h.bytes)::bigint as bytes,
  sum(h.ms)::bigint as ms
from crawls c cross join lateral (
  select * from fetch_hours h where h.crawl_id = c.crawl_id and h.hour >= $5 and h.hour < $2) h
where $4::int is null or c.crawl_id = $4 group by 1, 2;

-- name: look_minutes
-- As look_hours.
select date_bin(make_interval(secs => $3), minute, $1) as at, outcome, sum(fetches)::bigint as fetches, sum(bytes)::bigint as bytes,
  sum(ms)::bigint as ms
from fetch_minutes where minute >= $5 and minute < $2 and ($4::int is null or crawl_id = $4) group by 1, 2;

-- name: look_uncounted
-- Attempts from $1 to before $2, within a minute that nobody has counted yet; $3 crawl (null: all). As few words as possible, for there may be 60,000.
select $1::timestamptz as at, outcome, count(*) as fetches, sum(bytes)::bigint as bytes, sum(ms) as ms
from fetches where at >= $1::timestamptz and at < $2 and ($3::int is null or crawl_id = $3) group by outcome;

-- === where attempts are: newest first, and only as many as are wanted

-- name: look_minutes_with
-- $1 from, $2 before, $3 crawl (null: all), $4 outcomes (null: all): the minutes that have such attempts, and how many there are in all, the newest
-- first, up to those behind which $5 of them were found or $6 attempts have to be read.
select minute as since, interval '1 minute' as length, wanted, attempts from (
  select minute, wanted, attempts, sum(wanted) over earlier - wanted as found, sum(attempts) over earlier - attempts as read from (
    select * from (
      select minute, sum(fetches) filter (where ($3::int is null or crawl_id = $3) and ($4::text[] is null or outcome = any($4))) as wanted,
        sum(fetches) as attempts
      from fetch_minutes where minute >= $1 and minute < $2 group by 1) m
    where wanted > 0 order by minute desc limit $5::bigint) m
  window earlier as (order by minute desc)) x
where found < $5 and read < $6 order by minute desc;

-- name: look_hours_with
-- As look_minutes_with, by the hour: further back than minutes are kept.
select hour as since, interval '1 hour' as length, wanted, attempts from (
  select hour, wanted, attempts, sum(wanted) over earlier - wanted as found, sum(attempts) over earlier - attempts as read from (
    select h.hour, coalesce(sum(h.fetches) filter (where ($3::int is null or h.crawl_id = $3) and ($4::text[] is null or h.outcome = any($4))), 0)
      as wanted, sum(h.fetches) as attempts
    from crawls c cross join lateral (
      select * from fetch_hours h where h.crawl_id = c.crawl_id and h.hour >= $1 and h.hour < $2) h group by 1) m
  where wanted > 0 window earlier as (order by hour desc)) x
where found < $5 and read < $6 order by hour desc;

-- name: look_attempts_between
-- Attempts from $1 to before $2, of crawl $3 (null: all) with outcomes $4 (null: all), older than the attempt $5, $6, $7, $8 (null: all); the newest
-- $9. last: no later attempt was made at that URL for that crawl.
with part as materialized (
  select f.* from fetches f
  where f.at >= $1 and f.at < $2 and ($3::int is null or f.crawl_id = $3) and ($4::text[] is null or f.outcome = any($4))
    and ($5::timestamptz is null or (f.at, f.domain_id, f.crawl_id, f.url_hash) < ($5, $6::bigint, $7::int, $8::bytea))
  order by f.at desc, f.domain_id desc, f.crawl_id desc, f.url_hash desc limit $9)
select s.*, c.name as crawl, d.name as domain, u.url, u.due_at, u.depth, u.open, u.kind, p.title, p.content_type, p.length,
  not exists (select from fetches l where l.domain_id = s.domain_id and l.url_hash = s.url_hash and l.at > s.at and l.crawl_id = s.crawl_id) as last
from part s left join crawls c using (crawl_id) left join domains d using (domain_id)
left join urls u on u.domain_id = s.domain_id and u.crawl_id = s.crawl_id and u.url_hash = s.url_hash
left join pages p on p.domain_id = s.domain_id and p.crawl_id = s.crawl_id and p.url_hash = s.url_hash and p.fetched_at = s.at
order by s.at desc, s.domain_id desc, s.crawl_id desc, s.url_hash desc;

-- === domains to look at

-- name: look_tops_span
-- From when to when to look, for $1 attempts: whole minutes, at most a day of them, or of the last one a part if it has more; the last minutes, where
-- none is counted.
with counted as materialized (
  select minute, sum(fetches) as fetches, sum(sum(fetches)) over (order by minute desc) as so_far from fetch_minutes
  where minute >= now() - interval '1 day' group by 1),
last as (select minute + interval '1 minute' as until, least(1, $1 / greatest(1, fetches)::float8) as part from counted order by minute desc limit 1)
select coalesce((select min(minute) from counted where so_far <= $1), (select until - part * interval '1 minute' from last),
    now() - interval '5 minutes') as since,
  coalesce((select until from last), now() + interval '1 minute') as until;

-- name: look_tops
-- $1 from, $2 to, $3 most of each, $4 outcomes that are no failure: the domains that took longest, and those that failed most often.
with part as materialized (
  select domain_id, count(*) as fetches, sum(ms)::float8 / count(*) as ms, count(*) filter (where outcome <> all($4::text[])) as failed
  from fetches where at >= $1 and at < $2 group by 1)
(select 'slow' as list, * from part order by ms desc, domain_id limit $3)
union all
(select 'failing' as list, * from part where failed > 0 order by failed desc, domain_id limit $3);

-- name: look_urls_size
-- Blocks of urls on disk.
select (sum(pg_relation_size(inhrelid)) / current_setting('block_size')::int)::bigint from pg_inherits where inhparent = 'urls'::regclass;

-- name: look_queued
-- All domains by the URLs that are due, for a first visit or another: for a small frontier. $1 most. What will be due some day, as every page that
-- is to be visited again, does not wait.
select domain_id, count(*) as urls from urls where due_at <= now() group by 1 order by 2 desc, 1 limit $1;

-- name: look_queued_sample
-- As look_queued, of $2 per cent of the blocks, always the same ones, or the list would be another each time it is looked at.
select domain_id, count(*) as urls from urls tablesample system ($2) repeatable (8) where due_at <= now() group by 1 order by 2 desc, 1 limit $1;

-- name: look_lines
-- $1 domains: what is to be said of each in a list, and how many URLs are due, counted up to $2 by urls_due: crawl by crawl, or all that will be
-- due some day would be read.
select d.domain_id, d.name, d.blocked, d.waits_for, case when d.ready_at > now() then d.ready_at end as ready_at,
  (select count(*) from (
     select from crawls c cross join lateral (
       select from urls u where u.domain_id = d.domain_id and u.crawl_id = c.crawl_id and u.due_at <= now() limit $2) u limit $2) x) as urls
from domains d where d.domain_id = any($1::bigint[]);

-- name: look_domain_crawls
-- $1 domain, $2 how far is counted: what each crawl has of it. Not visited are those without an outcome among the $2 that are due first: a page that
-- is to be visited again has a due_at as well. An exists instead of the limit may be planned as a semi-join that gathers all URLs of the domain.
select c.name, c.state, c.attendant, c.deleting, coalesce(p.pages, 0) as pages,
  (select count(*) from (select from urls u where u.domain_id = $1 and u.crawl_id = c.crawl_id limit $2) x) as urls,
  (select count(*) filter (where x.outcome is null) from (
     select u.outcome from urls u where u.domain_id = $1 and u.crawl_id = c.crawl_id and u.due_at is not null order by u.due_at limit $2) x) as waiting
from crawls c left join domain_pages p on p.domain_id = $1 and p.crawl_id = c.crawl_id
cross join lateral (select from urls u where u.domain_id = $1 and u.crawl_id = c.crawl_id limit 1) known order by c.crawl_id;

-- name: look_domain_robots
-- $1 domain.
select origin, status, fetched_at, expires_at, good_at, failures, detail, body, sitemaps from origins where domain_id = $1 order by origin limit 100;

-- name: look_domain_errors
-- $1 domain, $2 from, $3 before, $4 how many attempts are looked at, $5 outcomes that are no failure, $6 most. looked: how many there were; as many
-- as $4: perhaps not all of them, and then these are not the last. From and before are whole days, as the table is cut: the index has the time behind
-- the URL, so of a part of a day all attempts at the domain would be read.
with part as materialized (select f.* from fetches f where f.domain_id = $1 and f.at >= $2 and f.at < $3 limit $4),
chosen as (select * from part where outcome <> all($5::text[]) order by at desc limit $6)
select n.looked, s.*, c.name as crawl, u.url
from (select count(*) as looked from part) n left join chosen s on true left join crawls c using (crawl_id)
left join urls u on u.domain_id = s.domain_id and u.crawl_id = s.crawl_id and u.url_hash = s.url_hash
order by s.at desc nulls last;

-- name: look_domain_errors_lately
-- $1 domain, $2 from (of look_tops_span: so there are not too many), $3 outcomes that are no failure, $4 most. For a domain with more attempts than are
-- looked at by its index: of all domains, by the BRIN index on at. The + 0 keeps the other index away.
with part as materialized (
  select f.* from fetches f where f.at >= $2 and f.domain_id + 0 = $1 and f.outcome <> all($3::text[]) order by f.at desc limit $4)
select s.*, c.name as crawl, u.url
from part s left join crawls c using (crawl_id)
left join urls u on u.domain_id = s.domain_id and u.crawl_id = s.crawl_id and u.url_hash = s.url_hash
order by s.at desc;

-- === finding pages

-- name: look_walk
-- URLs behind $1, $2, $3 in the order of the key: of the next $4 those of crawl $5 (null: all) with outcome $6 (null: all; '': none), the first $7.
-- The row with the smallest n is for how far was looked (found is false), and how many there were.
with part as materialized (
  select u.domain_id, u.crawl_id, u.url_hash, u.url, u.due_at, u.depth, u.outcome, u.detail, u.kind from urls u
  where (u.domain_id, u.crawl_id, u.url_hash) > ($1::bigint, $2::int, $3::bytea)
  order by u.domain_id, u.crawl_id, u.url_hash limit $4),
wanted as materialized (
  select * from part where ($5::int is null or crawl_id = $5) and ($6::text is null or coalesce(outcome, '') = $6) and kind = 'page'
  order by domain_id, crawl_id, url_hash limit $7),
told as (
  select true as found, 0::bigint as looked, w.* from wanted w
  union all
  (select false, (select count(*) from part), s.* from part s order by domain_id desc, crawl_id desc, url_hash desc limit 1))
select b.*, c.name as crawl, d.name as domain, p.status, p.title, p.content_type, p.length, p.fetched_at
from told b left join crawls c using (crawl_id) left join domains d using (domain_id) left join pages p using (domain_id, crawl_id, url_hash)
order by b.domain_id, b.crawl_id, b.url_hash;

-- name: look_walk_domain
-- As look_walk, of the domain $1 alone, behind $2, $3; visited from $8 to before $9 (null: whenever).
with part as materialized (
  select u.domain_id, u.crawl_id, u.url_hash, u.url, u.due_at, u.depth, u.outcome, u.detail, u.kind from urls u
  where u.domain_id = $1 and (u.crawl_id, u.url_hash) > ($2::int, $3::bytea) and ($5::int is null or u.crawl_id <= $5)
  order by u.crawl_id, u.url_hash limit $4),
wanted as materialized (
  select s.* from part s where ($5::int is null or s.crawl_id = $5) and ($6::text is null or coalesce(s.outcome, '') = $6) and s.kind = 'page'
    and (($8::timestamptz is null and $9::timestamptz is null) or exists (
      select from pages p where p.domain_id = s.domain_id and p.crawl_id = s.crawl_id and p.url_hash = s.url_hash
        and p.fetched_at >= coalesce($8, '-infinity') and p.fetched_at < coalesce($9, 'infinity')))
  order by s.crawl_id, s.url_hash limit $7),
told as (
  select true as found, 0::bigint as looked, w.* from wanted w
  union all
  (select false, (select count(*) from part), s.* from part s order by crawl_id desc, url_hash desc limit 1))
select b.*, c.name as crawl, d.name as domain, p.status, p.title, p.content_type, p.length, p.fetched_at
from told b left join crawls c using (crawl_id) left join domains d using (domain_id) left join pages p using (domain_id, crawl_id, url_hash)
order by b.crawl_id, b.url_hash;

-- name: look_few
-- URLs of crawl $1, which has few: all of them ($2 null), or those with outcome $2 ('': none) of a crawl or an outcome that has few; by the indexes of
-- what is open ($8: whether they are read) and of what is not, at most $3 rows of each. Behind $4, $5, $6 in the order of the key, the first $7.
with part as materialized (
  (select u.domain_id, u.crawl_id, u.url_hash from urls u
   where $8 and u.crawl_id = $1 and u.open and ($2::text is null or coalesce(u.outcome, '') = $2) limit $3)
  union all
  (select u.domain_id, u.crawl_id, u.url_hash from urls u
   where u.crawl_id = $1 and not u.open and ($2::text is null or u.outcome = $2) limit $3))
select u.domain_id, u.crawl_id, u.url_hash, u.url, u.due_at, u.depth, u.outcome, u.detail, u.kind, c.name as crawl, d.name as domain, p.status,
  p.title, p.content_type, p.length, p.fetched_at
from (select * from part where (domain_id, crawl_id, url_hash) > ($4::bigint, $5::int, $6::bytea) order by 1, 2, 3 limit $7) s
join urls u using (domain_id, crawl_id, url_hash) join crawls c using (crawl_id) left join domains d using (domain_id)
left join pages p using (domain_id, crawl_id, url_hash)
order by u.domain_id, u.crawl_id, u.url_hash;

-- name: look_share
-- How many URLs crawl $1 has, and how many of them with outcome $2 (null: all): of the counters.
select coalesce(sum(urls), 0)::bigint as urls, coalesce(sum(urls) filter (where $2::text is null or outcome = $2), 0)::bigint as wanted
from crawl_counts where crawl_id = $1;
