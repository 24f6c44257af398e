-- What other programs have visited (crawl import --seen). The tables of seeds are those of seed_tables.

-- name: import_rule
-- $1 crawl: by which rule it visits pages again, and what time it is.
select refresh, now() as now from crawls where crawl_id = $1;

-- name: import_put
-- Step 2. $1 crawl, $2 how the next visits are set, as in retime_rows: off, every ($3 seconds after the last), adaptive (after its own
-- interval, or $3) or at $4. What is overdue is due now and not since then: the oldest would come before every seed. What was gone is
-- never due. How many were new, by outcome, and how many of these are due now.
with put as (
  insert into urls (domain_id, crawl_id, url_hash, url, due_at, open, depth, outcome, detail, revisit, period, lastmod, changefreq)
  select x.domain_id, $1, x.url_hash, x.url,
    case when x.outcome = 'gone' or $2::text = 'off' then null when $2 = 'at' then $4::timestamptz
      else greatest(now(), least(coalesce(x.at, now()), now())
        + make_interval(secs => case when $2 = 'adaptive' then coalesce(x.revisit, $3::float8) else $3 end)) end,
    false, 1, x.outcome, 'imported', make_interval(secs => x.revisit), make_interval(secs => x.period), x.lastmod,
    make_interval(secs => x.changefreq)
  from seeds x
  where not exists (select from urls u where u.domain_id = x.domain_id and u.crawl_id = $1 and u.url_hash = x.url_hash offset 0)
    and not exists (select from domains f where f.domain_id = x.domain_id and f.forgotten_at is not null offset 0)
  order by 1, 3
  on conflict do nothing
  returning domain_id, outcome, due_at),
due as (insert into sown select domain_id, coalesce(min(due_at), 'infinity') from put group by 1)
select outcome, count(*) as n, count(*) filter (where due_at <= now()) as overdue from put group by 1 order by 1;

-- name: import_pages
-- Step 3. $1 crawl: the last visit to what import_put has put there. By key, for the same reasons as seed_again. What was put there before
-- has its page.
insert into pages (domain_id, crawl_id, url_hash, fetched_at, outcome, status, detail, content_type)
select x.domain_id, $1, x.url_hash, least(coalesce(x.at, now()), now()), x.outcome, x.status, 'imported', x.content_type
from seeds x cross join lateral (
  select from urls u where u.domain_id = x.domain_id and u.crawl_id = $1 and u.url_hash = x.url_hash and u.detail = 'imported' offset 0) u
order by 1, 3
on conflict do nothing;

-- name: import_later
-- Step 3, for what is known. $1 to $4 as in import_put. What was put here before, and nobody has visited since, has its last visit elsewhere
-- now, if the file says when that was and it was later. ON CONFLICT for the same reasons as seed_again; excluded.detail carries the outcome
-- that was, for the counts, and a new due_at keeps away a worker's visit that began with it (record_settle). How many are what now: not by
-- a join, which would be one of each with each, since nobody knows how many they are.
with later as materialized (
  select x.domain_id, x.url_hash, x.url, x.outcome, u.outcome as was, least(x.at, now()) as at, x.status, x.content_type, x.lastmod,
    make_interval(secs => x.changefreq) as changefreq, coalesce(make_interval(secs => x.revisit), u.revisit) as revisit,
    coalesce(make_interval(secs => x.period), u.period) as period
  from (select * from seeds where at is not null order by 1, 2) x
  cross join lateral (select u.outcome, u.revisit, u.period from urls u where u.domain_id = x.domain_id and u.crawl_id = $1
    and u.url_hash = x.url_hash and u.detail = 'imported' and not u.open offset 0) u
  cross join lateral (select from pages p where p.domain_id = x.domain_id and p.crawl_id = $1 and p.url_hash = x.url_hash
    and p.detail = 'imported' and p.fetched_at < least(x.at, now()) offset 0) p),
put as (
  insert into urls as u (domain_id, crawl_id, url_hash, url, due_at, outcome, detail, revisit, period, lastmod, changefreq)
  select domain_id, $1, url_hash, url, case when outcome = 'gone' or $2::text = 'off' then null when $2 = 'at' then $4::timestamptz
      else greatest(now(), at + case when $2 = 'adaptive' then coalesce(revisit, make_interval(secs => $3::float8))
        else make_interval(secs => $3) end) end,
    outcome, was, revisit, period, lastmod, changefreq from later order by 1, 3
  on conflict (domain_id, crawl_id, url_hash) do update
  set due_at = excluded.due_at, outcome = excluded.outcome, revisit = excluded.revisit, period = excluded.period,
    lastmod = coalesce(excluded.lastmod, u.lastmod), changefreq = coalesce(excluded.changefreq, u.changefreq)
  where u.detail = 'imported' and not u.open and u.outcome = excluded.detail
  returning u.domain_id, u.url_hash, u.outcome, u.due_at),
pages_put as (
  insert into pages (domain_id, crawl_id, url_hash, fetched_at, outcome, status, detail, content_type)
  select domain_id, $1, url_hash, at, outcome, status, 'imported', content_type from later order by 1, 3
  on conflict (domain_id, crawl_id, url_hash) do update
  set fetched_at = excluded.fetched_at, outcome = excluded.outcome, status = excluded.status,
    content_type = coalesce(excluded.content_type, pages.content_type)
  where pages.detail = 'imported' and pages.fetched_at < excluded.fetched_at),
due as (insert into sown select domain_id, coalesce(min(due_at), 'infinity') from put group by 1)
select was, outcome, count(*) as n from (
  select max(x.was) as was, max(x.outcome) as outcome
  from (select domain_id, url_hash, was, null as outcome from later union all select domain_id, url_hash, null, outcome from put) x
  group by x.domain_id, x.url_hash) x
where outcome is not null group by 1, 2 order by 1, 2;
