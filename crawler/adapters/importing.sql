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
