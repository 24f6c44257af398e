-- Looking closer: what the dashboard and its API ask of one crawl, or of one URL. The law of looking.sql holds: each looks at a bounded number of
-- rows, by key or by an index up to a limit.

-- name: look_crawl_seeds
-- $1 crawl, $2 most. The seeds that come first in their index.
select url from urls where crawl_id = $1 and seed limit $2;

-- name: look_crawl_tops
-- $1 crawl, $2 from, $3 to (look_tops_span), $4 most of each, $5 outcomes that are no failure. As look_tops, of one crawl.
with part as materialized (
  select domain_id, count(*) as fetches, avg(ms)::float8 as ms, count(*) filter (where outcome <> all($5::text[])) as failed
  from fetches where at >= $2 and at < $3 and crawl_id = $1 group by 1),
tops as (
  (select 'slow' as list, * from part order by ms desc, domain_id limit $4)
  union all
  (select 'failing' as list, * from part where failed > 0 order by failed desc, domain_id limit $4))
select t.*, d.name, d.blocked, d.waits_for, case when d.ready_at > now() then d.ready_at end as ready_at,
  (select count(*) from (select from urls u where u.domain_id = t.domain_id and u.crawl_id = $1 and u.due_at <= now() limit 10000) x) as urls
from tops t join domains d using (domain_id)
order by t.list, case t.list when 'slow' then t.ms else t.failed end desc, d.name;

-- name: look_crawl_waiting
-- $1 crawl, $2 of so many open URLs, $3 most. The domains of what is open, the soonest first; of a large crawl those of a sample of it, for to
-- count what is open of each would be to read it all.
select d.name, d.waits_for, d.blocked, count(*) as urls, min(greatest(u.due_at, d.ready_at)) as next_at, min(u.outcome) as outcome,
  bool_or(d.holder is not null and d.ready_at > now()) as held, bool_or(d.holder = 'queue') as queued
from (select domain_id, due_at, outcome from urls where crawl_id = $1 and open limit $2) u join domains d using (domain_id)
group by 1, 2, 3 order by next_at nulls last limit $3;

-- name: look_pages
-- $1 domain, $2 URL. As show_page, without the body: whether there is one.
select p.*, u.url, u.depth, c.name as crawl, exists (select from bodies b where b.digest = p.digest) as has_body
from pages p join urls u using (domain_id, crawl_id, url_hash) join crawls c using (crawl_id)
where p.domain_id = $1 and p.url_hash = $2 order by c.crawl_id;

-- name: look_attempts
-- $1 domain, $2 URL, $3 most. All attempts, of every crawl, the newest first.
select f.at, c.name as crawl, f.outcome, f.status, f.bytes, f.ms, f.worker, f.detail
from fetches f left join crawls c using (crawl_id) where f.domain_id = $1 and f.url_hash = $2 order by f.at desc limit $3;
