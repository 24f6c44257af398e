-- Named SQL: one statement, one round trip, the reason above it. Read design section 2 and the laws below first.
--
-- READ COMMITTED everywhere: the proofs need a new snapshot per statement.
--
-- LOCK ORDER of every transaction that locks more than one row, each step sorted by its key (0: record_hold, before all rows):
--   1 bodies   2 urls: insert links   3 urls: settle own, pages, fetches, domain_pages   4 crawl_counts, crawls   5 domains
-- A step waits only for holders of the same step or a later one, so no cycle can form.
-- 2 before 3: INSERT .. ON CONFLICT DO NOTHING waits for a transaction that is *updating* the row it collides with.
-- 5 last: the domain rows everybody links to are held only for the last statements and the commit.
--
-- INVARIANTS
--   I1  domains.due_at <= min(urls.due_at) of the domain's URLs in running crawls (too early is harmless, too late is a loss)
--   I2  whoever inserts a URL or moves urls.due_at EARLIER locks the domain's row afterwards, in the same transaction (touch)
--   I3  whoever moves domains.due_at LATER has locked the row in an EARLIER STATEMENT than the one that reads urls (release)
--   I4  holder is a worker  =>  it may be fetching until ready_at - delay; nobody else bumps turn before ready_at
--   I5  every change of who may act bumps turn: dispatch, accept, release, give back, claim

-- name: dispatch
-- $1 room under the high-water mark, $2 queue lease, $3 who dispatches. Locks and changes domains only; autocommit, then turn_urls (a new snapshot),
-- then publish and await the confirms.
-- Fair between crawls: every line (domains due for the same crawl) has the same share of the room, or a crawl with a million domains
-- would make one with ten wait for all of them. A loose index scan finds the lines, also those of crawls that are no more.
with recursive lines(due_for) as (
  (select min(due_for) from domains where next_at is not null)
  union all
  select (select min(d.due_for) from domains d where d.next_at is not null and d.due_for > l.due_for) from lines l
  where l.due_for is not null),
ready as materialized (
  select due_for, count(*) over () as n from lines l
  where exists (select from domains d where d.due_for = l.due_for and d.next_at <= now())),
free as materialized (
  select h.domain_id, r.n from ready r cross join lateral (
    select d.domain_id from domains d where d.due_for = r.due_for and d.next_at <= now()
    order by d.next_at limit greatest(1, ($1 + r.n - 1) / r.n)
    for no key update skip locked) h)
update domains d
set turn = d.turn + 1, ready_at = clock_timestamp() + $2::interval, holder = 'queue', dispatcher = $3,
    lost = greatest(d.lost, coalesce(d.holder <> 'queue', false)::int)
from free where d.domain_id = free.domain_id
returning d.domain_id, d.name, d.turn, d.lost, greatest(d.delay, d.delay_by_hand) as delay, d.concurrency_by_hand, host(d.address) as address,
  free.n as lines;

-- name: turn_urls
-- $1 dispatched domains, $2 most URLs of each. Fair between crawls: the n-th URL of each before the (n+1)-th of any.
-- A turn is sized by what the crawl's and the domain's budgets leave, and by the room that what its pages say has earned it (0004_traps;
-- 1,000 for a domain of which nothing is stored). What somebody waits for (due before 1971: refresh_wish) and is stored already counts against none
-- of them. A crawl with a refresh rule goes on looking at what has a final outcome, and trying again what is stored and failed, when its
-- budgets are used up; only then are the two told apart, for there may be a million of them.
select d.domain_id, u.crawl_id, u.url_hash, u.url, u.due_at, u.depth, u.hops, u.attempts, u.seed, u.outcome, u.kind
from unnest($1::bigint[], $2::int[]) d(domain_id, most) cross join lateral (
  select u.* from crawls c
  left join domain_pages p on p.domain_id = d.domain_id and p.crawl_id = c.crawl_id
  cross join lateral (select greatest(0, least(d.most, c.max_pages - c.pages, c.max_pages_per_domain - coalesce(p.pages, 0),
    coalesce(p.room, 1000))) as fresh, c.refresh = 'off' and not c.retime_now as once) b
  cross join lateral (
    select u.*, row_number() over (order by u.due_at) as n from (
      (select u.* from urls u where u.domain_id = d.domain_id and u.crawl_id = c.crawl_id and u.due_at <= now()
         and (u.due_at >= '1971-01-01' or u.open or b.fresh = d.most)
       order by u.due_at limit case when b.once or b.fresh = d.most then b.fresh else 0 end)
      union all
      (select u.* from urls u where u.domain_id = d.domain_id and u.crawl_id = c.crawl_id and u.due_at < '1971-01-01' and not u.open
       order by u.due_at limit case when b.once and b.fresh < d.most then d.most else 0 end)
      union all
      (select u.* from urls u where u.domain_id = d.domain_id and u.crawl_id = c.crawl_id and u.due_at <= now() and u.open
         and not (u.outcome is not null and exists (select from pages s where s.domain_id = u.domain_id and s.crawl_id = u.crawl_id and s.url_hash = u.url_hash and s.first_at is not null))
       order by u.due_at limit case when b.once or b.fresh = d.most then 0 else b.fresh end)
      union all
      (select u.* from urls u where u.domain_id = d.domain_id and u.crawl_id = c.crawl_id and u.due_at <= now()
         and (not u.open or (u.outcome is not null and exists (select from pages s where s.domain_id = u.domain_id and s.crawl_id = u.crawl_id and s.url_hash = u.url_hash and s.first_at is not null)))
       order by u.due_at limit case when b.once or b.fresh = d.most then 0 else d.most end)) u) u
  where c.state = 'running'
  order by u.n, u.crawl_id limit d.most) u;

-- name: urls_past
-- What is known from before of the URLs of a turn that were visited, or that a sitemap told of. $1 domain, $2 crawls, $3 hashes.
select u.crawl_id, u.url_hash, extract(epoch from u.period)::float8 as period, u.lastmod,
  extract(epoch from u.changefreq)::float8 as changefreq, coalesce(p.fetched_at, s.fetched_at) as fetched_at,
  coalesce(p.etag, s.etag) as etag, coalesce(p.last_modified, s.last_modified) as last_modified, coalesce(p.digest, s.digest) as digest,
  p.text_digest
from unnest($2::int[], $3::bytea[]) x(crawl_id, url_hash)
join urls u on u.domain_id = $1 and u.crawl_id = x.crawl_id and u.url_hash = x.url_hash
left join pages p on p.domain_id = $1 and p.crawl_id = x.crawl_id and p.url_hash = x.url_hash and u.kind = 'page'
left join sitemaps s on s.domain_id = $1 and s.crawl_id = x.crawl_id and s.url_hash = x.url_hash and u.kind = 'sitemap';

-- name: close_over_budget
-- $1 domains that gave no URL although they were due: what is due of a crawl whose pages of this domain are used up is refused ($2 why;
-- $3 why, before the number of pages, when it is not the limit but the room: most pages say the same),
-- or the domain would be dispatched again and again. `reopen_budget` arms it again when the limit is raised. What has a final outcome
-- keeps it, and so does what is stored and failed since; they are only not looked at again, unless the crawl has a refresh rule. Such a crawl does not end with its own budget ($4) but
-- goes on refreshing, so that is a reason too. Locked in key order first: a late worker may be settling the same rows.
with over as (
  select u.domain_id, u.crawl_id, u.url_hash, u.outcome, o.open, u.kind,
    case when p.pages >= c.max_pages_per_domain then $2 when p.room < 1 then $3 || p.pages || ' pages' else $4 end as why
  from crawls c cross join unnest($1::bigint[]) d(domain_id)
  left join domain_pages p on p.domain_id = d.domain_id and p.crawl_id = c.crawl_id
  join urls u on u.domain_id = d.domain_id and u.crawl_id = c.crawl_id
  cross join lateral (select u.open and not (u.outcome is not null and exists (select from pages s where s.domain_id = u.domain_id and s.crawl_id = u.crawl_id and s.url_hash = u.url_hash and s.first_at is not null)) as open) o
  where (p.pages >= c.max_pages_per_domain or p.room < 1 or ((c.refresh <> 'off' or c.retime_now) and c.state = 'running' and c.pages >= c.max_pages))
    and u.due_at is not null and (o.open or (c.refresh = 'off' and not c.retime_now and u.due_at >= '1971-01-01'))
  order by 1, 2, 3 for no key update of u),
closed as (
  update urls u set due_at = null, open = false, attempts = case when o.open then 0 else u.attempts end,
    outcome = case when o.open then 'scope_refused' else u.outcome end, detail = case when o.open then o.why else u.detail end
  from over o where u.domain_id = o.domain_id and u.crawl_id = o.crawl_id and u.url_hash = o.url_hash)
select crawl_id, outcome as previous from over where open and kind = 'page';

-- name: reopen_budget
-- $1 crawl, $2, $3 and $5 the details of close_over_budget, $4 the new limit. Then grant_room: who was closed for want of room has some.
-- Sitemaps that the crawl had no use for (announcing.py) are looked at again too: more pages may be of more use. A sitemap is not counted.
with again as (
  update urls u set due_at = now(), open = true, outcome = null, detail = ''
  where u.crawl_id = $1 and not u.open and u.outcome = 'scope_refused'
    and (u.detail in ($2, $5) or starts_with(u.detail, $3) or (u.kind = 'sitemap' and starts_with(u.detail, 'the sitemaps of this domain')))
    and coalesce((select pages from domain_pages p where p.domain_id = u.domain_id and p.crawl_id = $1), 0) < $4
  returning u.domain_id, u.kind)
select d.domain_id, d.name, now() as due_at, a.n
from (select domain_id, count(*) filter (where kind = 'page') as n from again group by 1) a join domains d using (domain_id);

-- name: grant_room
-- Step 3, last. $1 crawl, $2 the new limit: whoever sets it wants more of the domains that had no room left.
update domain_pages p set granted = p.granted + 1000 - p.room
from (select domain_id from domain_pages where crawl_id = $1 and room < 1 and pages < $2 order by 1 for no key update) x
where p.domain_id = x.domain_id and p.crawl_id = $1;

-- name: bury_urls
-- $1 domain_id[], $2 crawl_id[], $3 url_hash[], $4 due_at as handed out, $5 why: URLs whose turn killed every worker.
-- Compare and set, as record_settle: the last holder may have written down something after all. `crawl dead retry` arms them again.
-- Returned is what was counted: sitemaps are not.
with buried as (
  update urls u set due_at = null, open = false, outcome = 'decode_error', detail = $5
  from (select * from unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[], $6::text[])
        as x(domain_id, crawl_id, url_hash, taken, previous) order by 1, 2, 3) x
  where u.domain_id = x.domain_id and u.crawl_id = x.crawl_id and u.url_hash = x.url_hash and u.due_at = x.taken
  returning u.crawl_id, x.previous, u.outcome, u.kind)
select crawl_id, previous, outcome from buried where kind = 'page';

-- name: give_back
-- A turn that was dispatched but never accepted (not confirmed, or stopped before accept): $1 domains, $2 turns.
with mine as (
  select d.domain_id from domains d join unnest($1::bigint[], $2::bigint[]) x(domain_id, turn) using (domain_id)
  where d.turn = x.turn and d.holder = 'queue' order by d.domain_id for no key update of d)
update domains d set turn = d.turn + 1, ready_at = clock_timestamp(), holder = null
from mine where d.domain_id = mine.domain_id returning d.domain_id;

-- name: next_due
-- Seconds until a domain wants and bears a visit: what the dispatcher sleeps for. Past due counts as 0. The lines as in dispatch.
with recursive lines(due_for) as (
  (select min(due_for) from domains where next_at is not null)
  union all
  select (select min(d.due_for) from domains d where d.next_at is not null and d.due_for > l.due_for) from lines l
  where l.due_for is not null)
select greatest(0, extract(epoch from min(f.next_at) - clock_timestamp()))::float8 from lines l cross join lateral (
  select d.next_at from domains d where d.due_for = l.due_for and d.next_at is not null order by d.next_at limit 1) f;

-- name: address_lock
-- $1 addresses. Held while their turns are counted and accepted: two workers that count at once would both find room for the last one.
-- By the number of the lock, for two addresses may share one.
select pg_advisory_xact_lock(20016, k) from (select distinct hashtext(a) as k from unnest($1::text[]) a order by 1) x;

-- name: accept
-- $1 domains, $2 turns, $3 worker, $4 work lease, $5 addresses as far as they are known, $6 how many domains may be visited at once at
-- that address (0: any number); many messages at once. Rows not returned: drop the message (ack, do nothing).
-- Who finds no room at its address (taken is false) rests for about as long as it takes until those who wait there had their chance.
-- A NEW snapshot after address_lock. synchronous_commit must be on (also to the stand-by that may be promoted).
with mine as materialized (
  select d.domain_id, coalesce(x.address, d.address) as address, x.most
  from domains d join unnest($1::bigint[], $2::bigint[], $5::inet[], $6::int[]) x(domain_id, turn, address, most) using (domain_id)
  where d.turn = x.turn and d.holder = 'queue' order by d.domain_id for no key update of d),
crowds as materialized (
  select a.address, count(*) filter (where h.holder <> 'queue' and h.ready_at > clock_timestamp()) as held,
    count(*) filter (where h.crowded) as waiting
  from (select distinct address from mine where most > 0) a
  join domains h on h.address = a.address and (h.holder is not null or h.crowded) group by 1),
chosen as materialized (
  select m.domain_id, m.address,
    m.most = 0 or row_number() over (partition by m.address order by m.domain_id) + coalesce(c.held, 0) <= m.most as taken,
    greatest(1, coalesce(c.waiting, 0)::float8 / greatest(1, m.most)) * (0.5 + random()) as rest
  from mine m left join crowds c on c.address = m.address and m.most > 0)
update domains d set turn = d.turn + 1, holder = case when c.taken then $3 end, crowded = not c.taken, address = c.address,
  ready_at = clock_timestamp()
    + case when c.taken then $4::interval + greatest(d.delay, d.delay_by_hand) else make_interval(secs => c.rest) end
from chosen c where d.domain_id = c.domain_id
returning d.domain_id, d.turn, d.lost, greatest(d.delay, d.delay_by_hand) as delay, d.delay_by_hand, d.concurrency_by_hand, d.blocked,
  d.failures, d.throttled, c.taken;

-- name: venture
-- A turn after a lost one has waited out its pause, and begins now: from here on it may be what kills workers. $1 domain, $2 turn.
-- Counted when it ends badly, turns that were cut off while they did nothing but wait would be counted too, and buried in the end.
update domains set lost = lost + 1 where domain_id = $1 and turn = $2;

-- name: claim
-- A domain that is at rest, for one request outside a turn (a robots.txt that redirects to another domain): dispatch and accept
-- in one. $1 domain, $2 name, $3 worker, $4 lease. No row: it is held, or not ready; ask again. One that is merely queued was ready
-- when it was dispatched: its message finds another number, and it is dispatched again.
insert into domains as d (domain_id, name, holder, ready_at) values ($1, $2, $3, clock_timestamp() + $4::interval)
on conflict (domain_id) do update
set turn = d.turn + 2, holder = $3, ready_at = clock_timestamp() + $4::interval + greatest(d.delay, d.delay_by_hand)
where (d.ready_at <= clock_timestamp() or d.holder = 'queue') and d.blocked is null
returning d.turn;

-- name: renew
-- $1 domains, $2 turns, $3 work lease. Only turns with less than half a lease left. Rows not returned are NOT renewed: either
-- lost (stop) or locked for a moment by a recording transaction (ask again in a second).
with mine as (
  select d.domain_id from domains d join unnest($1::bigint[], $2::bigint[]) x(domain_id, turn) using (domain_id)
  where d.turn = x.turn order by d.domain_id for no key update of d skip locked)
update domains d set ready_at = clock_timestamp() + $3::interval + greatest(d.delay, d.delay_by_hand)
from mine where d.domain_id = mine.domain_id returning d.domain_id;

-- name: record_hold
-- Step 0. Who erases a crawl or a domain marks it, and then waits here (erase_barrier) until everybody who may not have seen the mark
-- has ended. First of all locks, so that nobody who waits for it holds a row.
select pg_advisory_xact_lock_shared(20013);

-- name: record_erased
-- A NEW snapshot after record_hold. $1 crawls, $2 domains: those for which nothing is written any more.
select crawl_id as crawl_id, null::bigint as domain_id from unnest($1::int[]) x(crawl_id)
where not exists (select from crawls c where c.crawl_id = x.crawl_id and not c.deleting)
union all
select null, domain_id from domains where domain_id = any($2::bigint[]) and forgotten_at is not null;

-- name: record_bodies
-- Step 1. A reuse touches the row (and locks it against upkeep), at most once an hour.
insert into bodies (digest, size, data)
select * from unnest($1::bytea[], $2::int[], $3::bytea[]) as x(digest, size, data) order by digest
on conflict (digest) do update set touched_at = excluded.touched_at where bodies.touched_at < now() - interval '1 hour';

-- name: record_links
-- Step 2. What is known is not collided with. sooner: seconds of priority, spent as an earlier due_at. Sitemaps are not counted.
with put as (
  insert into urls (domain_id, crawl_id, url_hash, url, due_at, depth, hops, seed, found_domain_id, found_hash, kind, lastmod, changefreq)
  select x.domain_id, x.crawl_id, x.url_hash, x.url, now() - make_interval(secs => x.sooner), x.depth, x.hops, x.seed,
         x.found_domain_id, x.found_hash, x.kind, x.lastmod, make_interval(secs => x.changefreq)
  from unnest($1::bigint[], $2::int[], $3::bytea[], $4::text[], $5::float8[], $6::smallint[], $7::smallint[], $8::boolean[],
              $9::bigint[], $10::bytea[], $11::text[], $12::timestamptz[], $13::float8[])
    as x(domain_id, crawl_id, url_hash, url, sooner, depth, hops, seed, found_domain_id, found_hash, kind, lastmod, changefreq)
  where not exists (select from urls u where u.domain_id = x.domain_id and u.crawl_id = x.crawl_id and u.url_hash = x.url_hash)
    and not exists (select from domains f where f.domain_id = x.domain_id and f.forgotten_at is not null)
  order by 1, 2, 3
  on conflict do nothing
  returning domain_id, crawl_id, due_at, kind)
select domain_id, crawl_id, min(due_at) as due_at, count(*) filter (where kind = 'page') as n from put group by 1, 2;

-- name: record_settle
-- Step 3. Compare and set on due_at, as it was handed out: a late worker (its turn went to another), a batch recorded twice and a
-- page that `refresh` wanted again meanwhile change nothing. So a settle only ever moves due_at later, and needs no touch.
-- $13 the time of a cron expression that due_in stands for: the worker's clock, running ahead, would otherwise have the same time served
-- twice. Where it is over by our clock, the worker's runs behind, and what it missed is not made up for time by time.
-- $14 the refresh rule that was followed (null: none was): where the crawl has another by now, and the walk that applies it has passed by
-- while the page had no outcome (retime_rows), the page is looked at again at once, or never.
with done as (
  update urls u
  set due_at = case when x.stale and x.refresh = 'off' then null when x.stale then clock_timestamp()
                    when x.due_at > clock_timestamp() then x.due_at else clock_timestamp() + make_interval(secs => x.due_in) end,
      open = x.open, attempts = x.attempts, outcome = x.outcome, detail = x.detail,
      revisit = coalesce(make_interval(secs => x.revisit), u.revisit), period = coalesce(make_interval(secs => x.period), u.period)
  from (
    select y.*, c.refresh, not y.open and y.rule <> c.refresh
        and y.outcome not in ('gone', 'robots_refused', 'scope_refused', 'address_refused', 'type_refused') as stale
    from unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[], $5::float8[], $6::boolean[], $7::smallint[], $8::text[],
                $9::text[], $10::text[], $11::float8[], $12::float8[], $13::timestamptz[], $14::text[])
      as y(domain_id, crawl_id, url_hash, taken, due_in, open, attempts, outcome, detail, previous, revisit, period, due_at, rule)
    left join crawls c using (crawl_id) order by y.domain_id, y.crawl_id, y.url_hash) x
  where u.domain_id = x.domain_id and u.crawl_id = x.crawl_id and u.url_hash = x.url_hash and u.due_at = x.taken
  returning u.crawl_id, x.previous, u.outcome, u.kind)
select crawl_id, previous, outcome, count(*) as n from done where kind = 'page' group by 1, 2, 3;

-- name: record_unchanged
-- Step 3. What is kept of these pages is still right: 304, or the same bytes. Validators that came along replace the old ones
-- (RFC 9111 section 3.2); $8 headers, null: a 304 has only some of them.
update pages p set fetched_at = x.at, address = coalesce(x.address, p.address), protocol = coalesce(x.protocol, p.protocol),
  etag = coalesce(x.etag, p.etag), last_modified = coalesce(x.last_modified, p.last_modified), headers = coalesce(x.headers::jsonb, p.headers)
from (select * from unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[], $5::inet[], $6::text[], $7::text[], $8::text[], $9::text[])
  as x(domain_id, crawl_id, url_hash, at, address, protocol, etag, headers, last_modified) order by 1, 2, 3) x
where p.domain_id = x.domain_id and p.crawl_id = x.crawl_id and p.url_hash = x.url_hash and p.fetched_at < x.at and p.digest is not null;

-- name: record_versions
-- Step 3, before record_pages: what the pages of these visits said until now, where they say something else. $6 how many are kept of each.
with old as (
  insert into versions (domain_id, crawl_id, url_hash, fetched_at, status, headers, content_type, charset, title, language, length, digest,
    text_digest)
  select p.domain_id, p.crawl_id, p.url_hash, p.fetched_at, p.status, p.headers, p.content_type, p.charset, p.title, p.language, p.length,
    p.digest, p.text_digest
  from unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[], $5::bytea[], $6::int[], $7::bytea[])
    x(domain_id, crawl_id, url_hash, at, digest, keep, text_digest)
  join pages p using (domain_id, crawl_id, url_hash)
  where p.digest is not null and p.fetched_at < x.at and p.digest is distinct from x.digest
    and (x.text_digest is null or p.text_digest is distinct from x.text_digest)
  order by 1, 2, 3 on conflict do nothing returning domain_id, crawl_id, url_hash)
delete from versions v using (
  select v.domain_id, v.crawl_id, v.url_hash, v.fetched_at, row_number() over (
    partition by v.domain_id, v.crawl_id, v.url_hash order by v.fetched_at desc) >= x.keep as surplus
  from unnest($1::bigint[], $2::int[], $3::bytea[], $6::int[]) x(domain_id, crawl_id, url_hash, keep)
  join versions v using (domain_id, crawl_id, url_hash)
  where exists (select from old o where o.domain_id = x.domain_id and o.crawl_id = x.crawl_id and o.url_hash = x.url_hash)) w
where w.surplus and v.domain_id = w.domain_id and v.crawl_id = w.crawl_id and v.url_hash = w.url_hash and v.fetched_at = w.fetched_at;

-- name: record_sitemaps
-- Step 3. Strictly newer visits replace older ones; $6 whether anything was read (else only the time is new: 304, or the same bytes).
insert into sitemaps as s (domain_id, crawl_id, url_hash, fetched_at, changed_at, etag, last_modified, digest, form, urls, taken, detail)
select x.domain_id, x.crawl_id, x.url_hash, x.at, x.at, x.etag, x.last_modified, x.digest, x.form, x.urls, x.taken, x.detail
from unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[], $5::text[], $6::text[], $7::bytea[], $8::text[], $9::int[], $10::int[],
            $11::text[]) as x(domain_id, crawl_id, url_hash, at, etag, last_modified, digest, form, urls, taken, detail)
order by 1, 2, 3
on conflict (domain_id, crawl_id, url_hash) do update
set fetched_at = excluded.fetched_at, changed_at = case when s.digest = excluded.digest then s.changed_at else excluded.changed_at end,
  etag = excluded.etag, last_modified = excluded.last_modified, digest = excluded.digest, form = excluded.form, urls = excluded.urls,
  taken = excluded.taken, detail = excluded.detail
where s.fetched_at < excluded.fetched_at;

-- name: record_sitemaps_unchanged
-- Step 3. As record_unchanged.
update sitemaps s set fetched_at = x.at, etag = coalesce(x.etag, s.etag), last_modified = coalesce(x.last_modified, s.last_modified)
from (select * from unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[], $5::text[], $6::text[])
  as x(domain_id, crawl_id, url_hash, at, etag, last_modified) order by 1, 2, 3) x
where s.domain_id = x.domain_id and s.crawl_id = x.crawl_id and s.url_hash = x.url_hash and s.fetched_at < x.at;

-- name: record_promises
-- Step 3, last. What sitemaps said of pages that were visited since: how often there was such a word, and how often it was kept.
insert into domain_pages as p (domain_id, crawl_id, promised, kept)
select * from unnest($1::bigint[], $2::int[], $3::int[], $4::int[]) x(domain_id, crawl_id, promised, kept) order by 1, 2
on conflict (domain_id, crawl_id) do update set promised = p.promised + excluded.promised, kept = p.kept + excluded.kept;

-- name: record_pages
-- Step 3. Returns how many are stored for the first time, by domain and crawl: only those count against the budgets. And how many of
-- these say something new, and how many what another page of the domain said before: earlier (the statement does not see its own rows) or
-- in this batch. To say nearly the same ($26: by how many bits of the SimHash at most) is to say it: asked of 30 pages of the same first 16
-- bits, those that lie together in the index, for of a trap's pages most would do, and an honest site may have a hundred thousand there
-- that would not; and of the one before it in the batch. Strictly newer
-- visits replace older ones, so recording a batch a second time (the answer to COMMIT was lost) writes and counts nothing.
-- A visit that kept no body (an error, a redirect) leaves no digest behind: the page is what the last visit says. A page became another
-- when its text did, or when hooks say something else of it: who goes by changed_at has to hear of both.
with put as (
  insert into pages as p (domain_id, crawl_id, url_hash, first_at, fetched_at, changed_at, outcome, status, detail, address, protocol,
    request_headers, headers, directives, content_type, charset, title, language, redirect_to, etag, last_modified, length, digest,
    text_digest, gist, fields, simhash)
  select x.domain_id, x.crawl_id, x.url_hash, case when x.outcome = 'ok' then x.at end, x.at, case when x.outcome = 'ok' then x.at end,
    x.outcome, x.status, x.detail, x.address, x.protocol, x.request_headers::jsonb, x.headers::jsonb,
    string_to_array(x.directives, ','), x.content_type, x.charset, x.title, x.language, x.redirect_to, x.etag, x.last_modified,
    x.length, x.digest, x.text_digest, x.gist, x.fields::jsonb, x.simhash
  from unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[], $5::text[], $6::smallint[], $7::text[], $8::inet[], $9::text[],
              $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
              $19::text[], $20::int[], $21::bytea[], $22::bytea[], $23::bigint[],
              $24::text[], $25::bigint[])
    as x(domain_id, crawl_id, url_hash, at, outcome, status, detail, address, protocol, request_headers, headers, directives,
         content_type, charset, title, language, redirect_to, etag, last_modified, length, digest, text_digest, gist, fields, simhash)
  order by 1, 2, 3
  on conflict (domain_id, crawl_id, url_hash) do update
    set first_at = coalesce(p.first_at, excluded.first_at), fetched_at = excluded.fetched_at,
        changed_at = case when p.digest is distinct from excluded.digest and (excluded.text_digest is null
          or p.text_digest is distinct from excluded.text_digest) or p.fields is distinct from excluded.fields
          then excluded.changed_at else p.changed_at end,
        outcome = excluded.outcome, status = excluded.status, detail = excluded.detail, address = excluded.address,
        protocol = excluded.protocol, request_headers = excluded.request_headers, headers = excluded.headers,
        directives = excluded.directives, content_type = excluded.content_type, charset = excluded.charset, title = excluded.title,
        language = excluded.language, redirect_to = excluded.redirect_to, etag = excluded.etag,
        last_modified = excluded.last_modified, length = excluded.length, digest = excluded.digest, text_digest = excluded.text_digest,
        gist = excluded.gist, fields = excluded.fields, simhash = excluded.simhash
    where p.fetched_at < excluded.fetched_at
  returning domain_id, crawl_id, url_hash, gist, simhash, first_at = fetched_at as new),
judged as (
  select domain_id, crawl_id, gist, row_number() over (partition by domain_id, crawl_id, gist order by url_hash) > 1
    or coalesce(bit_count((simhash # lag(simhash) over (partition by domain_id, crawl_id, simhash >> 48 order by url_hash))::bit(64)) <= $26, false)
    or exists (select from pages q where q.domain_id = n.domain_id and q.crawl_id = n.crawl_id and q.gist = n.gist)
    or exists (select from (select q.simhash from pages q where q.domain_id = n.domain_id and q.crawl_id = n.crawl_id
        and q.simhash >> 48 = n.simhash >> 48 and q.simhash is not null limit 30) q
      where bit_count((q.simhash # n.simhash)::bit(64)) <= $26) as alike
  from put n where new)
select domain_id, crawl_id, count(*) as n, count(gist) filter (where not alike) as fresh, count(gist) filter (where alike) as alike
from judged group by 1, 2;

-- name: record_targets
-- Step 3, after record_pages. What these pages link to. Strictly newer visits replace older ones.
insert into links as l (domain_id, crawl_id, url_hash, fetched_at, n, targets)
select * from unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[], $5::int[], $6::bytea[])
  as x(domain_id, crawl_id, url_hash, at, n, targets) order by 1, 2, 3
on conflict (domain_id, crawl_id, url_hash) do update set fetched_at = excluded.fetched_at, n = excluded.n, targets = excluded.targets
where l.fetched_at < excluded.fetched_at;

-- name: record_no_targets
-- Step 3, after record_targets. What is no page any more (gone, a redirect, refused) links to nothing. Asked for crawls that keep links alone,
-- of URLs that were visited before. Whoever is here has locked the pages, in their order: nobody else is at these rows.
delete from links l using unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[]) x(domain_id, crawl_id, url_hash, at)
where l.domain_id = x.domain_id and l.crawl_id = x.crawl_id and l.url_hash = x.url_hash and l.fetched_at < x.at;

-- name: pages_stored
-- Of these keys, which are stored already: asked under budget_left, when a batch does not fit into a budget.
select x.domain_id, x.crawl_id, x.url_hash from unnest($1::bigint[], $2::int[], $3::bytea[]) x(domain_id, crawl_id, url_hash)
join pages p using (domain_id, crawl_id, url_hash) where p.first_at is not null;

-- name: record_fetches
-- Step 3. A row an attempt; only those not written yet, so that a batch recorded a second time counts nothing twice.
with put as (
insert into fetches (at, domain_id, crawl_id, url_hash, outcome, status, bytes, ms, worker, detail)
select x.at, x.domain_id, x.crawl_id, x.url_hash, x.outcome, x.status, x.bytes, x.ms, $9, x.detail
from unnest($1::timestamptz[], $2::bigint[], $3::int[], $4::bytea[], $5::text[], $6::smallint[], $7::bigint[], $8::int[], $10::text[])
  as x(at, domain_id, crawl_id, url_hash, outcome, status, bytes, ms, detail)
where not exists (select from fetches f where f.domain_id = x.domain_id and f.url_hash = x.url_hash and f.at = x.at
                  and f.crawl_id = x.crawl_id and f.worker = $9)
returning crawl_id, outcome, bytes)
select crawl_id, outcome, count(*) as n, sum(bytes)::bigint as bytes from put group by 1, 2;

-- name: record_domain_pages
-- Step 3, last: the budget of a domain within a crawl.
insert into domain_pages as p (domain_id, crawl_id, pages, fresh, alike)
select * from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::int[]) x(domain_id, crawl_id, n, fresh, alike) order by 1, 2
on conflict (domain_id, crawl_id) do update
set pages = p.pages + excluded.pages, fresh = p.fresh + excluded.fresh, alike = p.alike + excluded.alike;

-- name: record_counts
-- Step 4, first. Every worker has its slot.
insert into crawl_counts as c (crawl_id, slot, outcome, urls, fetches, bytes)
select x.crawl_id, $1, x.outcome, x.urls, x.fetches, x.bytes
from unnest($2::int[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[]) x(crawl_id, outcome, urls, fetches, bytes)
where exists (select from crawls where crawl_id = x.crawl_id)
order by 1, 3
on conflict (crawl_id, slot, outcome) do update
set urls = c.urls + excluded.urls, fetches = c.fetches + excluded.fetches, bytes = c.bytes + excluded.bytes;

-- name: record_budget
-- Step 4. $1 crawls, $2 newly stored pages, only crawls with max_pages. Fewer rows than asked: roll back, do it again with
-- budget_left as the FIRST statement and no more new pages than it says.
with mine as (
  select c.crawl_id, x.n from crawls c join unnest($1::int[], $2::int[]) x(crawl_id, n) using (crawl_id)
  where c.state <> 'cancelled' order by c.crawl_id for no key update of c)
update crawls c set pages = c.pages + mine.n from mine
where c.crawl_id = mine.crawl_id and (c.max_pages is null or c.pages + mine.n <= c.max_pages)
returning c.crawl_id;

-- name: record_unlimited
-- Step 4. $1 crawls that the worker believes to have no max_pages. SHARE makes who gives one a limit wait for us, so that its recount
-- misses no page; a crawl that is not returned has one by now: roll back, and count it.
select crawl_id from crawls where crawl_id = any($1::int[]) and max_pages is null order by crawl_id for share;

-- name: budget_left
select crawl_id, state, max_pages - pages as left from crawls where crawl_id = any($1::int[]) order by crawl_id for no key update;

-- name: finish_full
-- A crawl whose budget is used up is finished, whatever is still due: raising the limit sets it running again. One with a refresh rule,
-- or of which all is being refreshed (retime_now), goes on with what it has stored (close_over_budget).
with full_ones as (
  update crawls c set state = 'finished', version = version + 1, finished_at = now(), rearm = null, retime_now = false, retime = null,
    finished_why = case when pages >= max_pages and refresh = 'off' and not retime_now then 'max_pages' else 'max_bytes' end
  where state = 'running' and ((pages >= max_pages and refresh = 'off' and not retime_now) or (max_bytes is not null and max_bytes <=
    (select coalesce(sum(k.bytes), 0) from crawl_counts k where k.crawl_id = c.crawl_id)))
  returning crawl_id)
select crawl_id, pg_notify('crawl_changed', crawl_id::text) from full_ones;

-- name: touch
-- Step 5, first statement: every domain with a new or earlier URL, and every domain to be released (due 'infinity').
-- ON CONFLICT DO UPDATE locks the latest version of every row, also those whose WHERE says no: that lock is the point.
-- $4 for which crawl: a domain stands in the line of the youngest crawl that wants it now (dispatch shares its room among the lines, and
-- a younger crawl must not wait behind all that an older one has to do; the turn has URLs of both).
insert into domains (domain_id, name, due_at, due_for)
select domain_id, min(name), nullif(min(due_at), 'infinity'), max(due_for)
from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::int[]) x(domain_id, name, due_at, due_for)
group by domain_id order by domain_id
on conflict (domain_id) do update
set due_at = least(domains.due_at, excluded.due_at),
    due_for = case when domains.due_at <= now() then greatest(domains.due_for, excluded.due_for) else excluded.due_for end
where excluded.due_at < 'infinity'
  and (domains.due_at is null or domains.due_at > excluded.due_at or (excluded.due_at <= now() and domains.due_for < excluded.due_for));

-- name: release
-- Step 5, second statement, a NEW snapshot under the locks of touch. $1 domains, $2 turns, $3 seconds of pause still owed now.
-- A paused crawl's URLs are looked at again in a day, should `resume` die half-way. due_for as in touch.
update domains d
set turn = d.turn + 1, holder = null, lost = 0,
    ready_at = clock_timestamp() + make_interval(secs => x.owed),
    delay = make_interval(secs => x.delay), failures = x.failures, throttled = x.throttled, waits_for = nullif(x.waits_for, ''),
    visited_at = case when x.visited then clock_timestamp() else d.visited_at end, address = coalesce(x.address, d.address),
    (due_at, due_for) = (
      select min(n.due_at), coalesce(max(n.crawl_id) filter (where n.due_at <= now()), (array_agg(n.crawl_id order by n.due_at))[1], 0)
      from (select c.crawl_id, case c.state when 'running' then u.due_at else greatest(u.due_at, now() + interval '1 day') end as due_at
            from crawls c cross join lateral (
              select due_at from urls where domain_id = d.domain_id and crawl_id = c.crawl_id and due_at is not null
              order by due_at limit 1) u
            where c.state in ('running', 'paused')) n)
from unnest($1::bigint[], $2::bigint[], $3::float8[], $4::float8[], $5::smallint[], $6::smallint[], $7::text[], $8::boolean[],
            $9::inet[])
  x(domain_id, turn, owed, delay, failures, throttled, waits_for, visited, address)
where d.domain_id = x.domain_id and d.turn = x.turn
returning d.domain_id, x.turn, extract(epoch from d.next_at - clock_timestamp())::float8 as next_in;

-- name: release_empty
-- As release, for a domain that was dispatched with nothing due (due_at was only a lower bound): no pause is owed.
update domains d
set turn = d.turn + 1, holder = null, lost = 0, ready_at = clock_timestamp(),
    (due_at, due_for) = (
      select min(n.due_at), coalesce(max(n.crawl_id) filter (where n.due_at <= now()), (array_agg(n.crawl_id order by n.due_at))[1], 0)
      from (select c.crawl_id, case c.state when 'running' then u.due_at else greatest(u.due_at, now() + interval '1 day') end as due_at
            from crawls c cross join lateral (
              select due_at from urls where domain_id = d.domain_id and crawl_id = c.crawl_id and due_at is not null
              order by due_at limit 1) u
            where c.state in ('running', 'paused')) n)
from unnest($1::bigint[], $2::bigint[]) x(domain_id, turn)
where d.domain_id = x.domain_id and d.turn = x.turn and d.holder = 'queue'
returning d.domain_id;

-- name: release_claim
-- A claimed domain goes back with the pause it is owed, which is never less than its own; its URLs were not looked at, so its due_at stays.
update domains set turn = turn + 1, holder = null,
  ready_at = clock_timestamp() + greatest(make_interval(secs => $3), delay, delay_by_hand)
where domain_id = $1 and turn = $2 returning domain_id;

-- name: robots_get
-- $1, $2 of many origins; those of which nothing is known are missing.
select origin, status, body, good_at, fetched_at, expires_at, failures, detail
from unnest($1::bigint[], $2::text[]) x(domain_id, origin) join origins o using (domain_id, origin);

-- name: robots_put
-- Of many origins. $10 JSON. $11 whether the wish for a new one (robots_wish) was there when they were asked for: one that came later is
-- not fulfilled by this answer.
insert into origins as o (domain_id, origin, status, body, good_at, fetched_at, expires_at, failures, detail, sitemaps)
select domain_id, origin, status, body, good_at, fetched_at, expires_at, failures, detail,
       array(select jsonb_array_elements_text(sitemaps::jsonb))
from unnest($1::bigint[], $2::text[], $3::smallint[], $4::bytea[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::int[],
            $9::text[], $10::text[])
     x(domain_id, origin, status, body, good_at, fetched_at, expires_at, failures, detail, sitemaps)
order by domain_id, origin
on conflict (domain_id, origin) do update
set status = excluded.status, body = excluded.body, good_at = excluded.good_at, fetched_at = excluded.fetched_at,
    expires_at = case when o.expires_at = 'epoch' and not $11 then o.expires_at else excluded.expires_at end,
    failures = excluded.failures, detail = excluded.detail, sitemaps = excluded.sitemaps,
    sitemaps_at = case when o.sitemaps = excluded.sitemaps then o.sitemaps_at else now() end
returning o.domain_id, o.origin, o.expires_at;

-- name: robots_rearm
-- Step 3. The rules of an origin have changed: what they refused is due again. $1 domain, $2 origin. The caller holds the domain and
-- touches it in the same transaction. By crawl, for a domain may have a million of them.
with refused as (
  select domain_id, crawl_id, url_hash from urls
  where domain_id = $1 and outcome = 'robots_refused' and starts_with(url, $2 || '/') and (due_at is null or due_at > now())
  order by 1, 2, 3 for no key update),
again as (
  update urls u set due_at = now(), open = true, attempts = 0
  from refused r where u.domain_id = r.domain_id and u.crawl_id = r.crawl_id and u.url_hash = r.url_hash
  returning u.crawl_id)
select crawl_id, now() as due_at, count(*) as n from again group by 1;

-- name: robots_wish
-- $1 domain: its robots.txt are to be asked for now, by whoever holds it or can claim it; no copy of them is used before that.
-- Who dies after this leaves only that: the next visit asks first.
update origins set expires_at = 'epoch' where domain_id = $1;

-- name: robots_wished
-- $1 domains: what robots_wish left of them, with the pause they are given and how the youngest crawl of the domain names itself.
select d.domain_id, d.name, extract(epoch from greatest(d.delay, d.delay_by_hand))::float8 as delay, o.origins, c.user_agent
from domains d
cross join lateral (
  select array_agg(origin order by origin) as origins from origins where domain_id = d.domain_id and expires_at = 'epoch') o
left join lateral (
  select c.user_agent from crawls c where c.state = 'running' and exists (
    select from urls u where u.domain_id = d.domain_id and u.crawl_id = c.crawl_id)
  order by c.crawl_id desc limit 1) c on true
where d.domain_id = any($1::bigint[]) and d.blocked is null and o.origins is not null;

-- name: robots_all
-- $1 domain.
select origin, status, body, good_at, fetched_at, expires_at, failures, detail from origins where domain_id = $1 order by origin;

-- name: robots_refused
-- $1 domain, $2 origin: how many URLs its rules refuse.
select count(*) from urls where domain_id = $1 and outcome = 'robots_refused' and starts_with(url, $2 || '/');

-- name: robots_urls
-- $1 domain, $2 origin, $3 most: known URLs, to tell what rules mean for them.
select u.url, c.user_agent from urls u join crawls c using (crawl_id)
where u.domain_id = $1 and starts_with(u.url, $2 || '/') limit $3;

-- name: crawl_versions
select crawl_id, version from crawls where crawl_id = any($1::int[]);

-- name: crawl_get
select * from crawls where crawl_id = $1;

-- name: crawl_by_name
select * from crawls where name = $1;

-- name: crawl_list
select * from crawls order by crawl_id;

-- name: crawl_keys
select scope_key from scope_keys where crawl_id = $1;

-- name: crawl_create
insert into crawls (name, scope, include, exclude, max_pages, max_depth, max_pages_per_domain, delay, per_domain, user_agent,
  parser, max_bytes, types, headers, trusted_domains, owned_domains, refresh, sitemaps, keep_versions, keep_links, search)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::text::jsonb, $15, $16, coalesce($17, 'off'), coalesce($18, true),
  coalesce($19, 0), coalesce($20, false), coalesce($21, false)) on conflict (name) do nothing returning *;

-- name: crawl_lock
select crawl_id from crawls where crawl_id = $1 and not deleting for no key update;

-- name: crawl_hold
-- `seed` and `refresh` hold the crawl before they insert, so that it cannot be declared finished meanwhile (finish_lock waits for this).
-- Not the crawl's row: record_budget would wait for us (step 4), while we wait for the URLs it has inserted (step 2); nor does KEY SHARE
-- do, for the row is updated later, behind a finish_lock that waits for us.
-- The second lock is record_hold's.
select pg_advisory_xact_lock_shared(20012, $1), pg_advisory_xact_lock_shared(20013);

-- name: crawl_deleting
-- A NEW snapshot after crawl_hold: is the crawl gone, or going?
select not exists (select from crawls where crawl_id = $1 and not deleting);

-- name: crawl_change
-- $1 crawl, then every limit as it shall be; null for the last five: as it is. The version grows only when something changed. Another
-- refresh rule is yet to be applied to what was visited (retime_rows).
update crawls set max_pages = $2, max_depth = $3, max_pages_per_domain = $4, delay = $5, per_domain = $6, user_agent = $7, parser = $8,
  max_bytes = $9, types = $10, headers = $11::text::jsonb, trusted_domains = $12, owned_domains = $13, refresh = coalesce($14, refresh),
  sitemaps = coalesce($15, sitemaps), keep_versions = coalesce($16, keep_versions), keep_links = coalesce($17, keep_links),
  search = coalesce($18, search), version = version + 1,
  retime = case when coalesce($14, refresh) = refresh then retime else -9223372036854775808 end,
  retime_hash = case when coalesce($14, refresh) = refresh then retime_hash else '' end,
  retime_now = retime_now and coalesce($14, refresh) = refresh
where crawl_id = $1 and (max_pages, max_depth, max_pages_per_domain, delay, per_domain, user_agent, parser, max_bytes, types, headers,
    trusted_domains, owned_domains, refresh, sitemaps, keep_versions, keep_links, search)
  is distinct from ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12, $13, coalesce($14, refresh), coalesce($15, sitemaps),
    coalesce($16, keep_versions), coalesce($17, keep_links), coalesce($18, search))
returning crawl_id;

-- name: rearm_refused
-- What our own rules refused is due again, for they have changed. $1 crawl, $2 the outcome, $3 only these domains; null: all.
-- Locked in key order first, as in close_over_budget.
with refused as (
  select u.domain_id, u.crawl_id, u.url_hash from urls u
  where u.crawl_id = $1 and u.outcome = $2 and ($3::bigint[] is null or u.domain_id = any($3)) and (u.due_at is null or u.due_at > now())
  order by 1, 2, 3 for no key update of u),
again as (
  update urls u set due_at = now(), open = true, attempts = 0 from refused r
  where u.domain_id = r.domain_id and u.crawl_id = r.crawl_id and u.url_hash = r.url_hash returning u.domain_id)
select domain_id, (select name from domains d where d.domain_id = again.domain_id) as name, now() as due_at from again group by 1;

-- name: rearm_sitemaps
-- Sitemaps that were not read because the crawl did not want any, and its seeds: a visit is what tells of the sitemaps of a site. $1 crawl.
-- Locked in key order first, as in close_over_budget.
with wanted as (
  select u.domain_id, u.crawl_id, u.url_hash from urls u
  where u.crawl_id = $1 and not u.open and (
    (u.kind = 'sitemap' and u.outcome = 'scope_refused')
    or (u.kind = 'page' and u.seed and u.due_at is null and u.outcome in ('ok', 'not_modified', 'redirect', 'gone')))
  order by 1, 2, 3 for no key update of u),
again as (
  update urls u set due_at = now(), open = true, attempts = 0 from wanted r
  where u.domain_id = r.domain_id and u.crawl_id = r.crawl_id and u.url_hash = r.url_hash returning u.domain_id)
select domain_id, (select name from domains d where d.domain_id = again.domain_id) as name, now() as due_at from again group by 1;

-- name: crawl_run
-- Set running (under crawl_lock). A crawl that is paused or was cancelled stays so: only `resume` changes that.
update crawls set state = 'running', version = version + 1, finished_at = null, finished_why = null
where crawl_id = $1 and state = 'finished' and (refresh <> 'off' or max_pages is null or pages < max_pages)
  and (max_bytes is null or max_bytes > (select coalesce(sum(bytes), 0) from crawl_counts where crawl_id = $1))
  and (refresh <> 'off' or exists (select from urls where crawl_id = $1 and open)) returning crawl_id;

-- name: crawl_pause
-- A row if it was running, or was only left by its run: from now on only `resume` lets it go on. Its run has ended with this; 'hand'
-- stands for one that had ended before. A resume that was under way has ended too: its compare and set finds another rearm.
update crawls set state = 'paused', rearm = null, version = version + 1,
  attendant = case attendant when 'left' then 'hand' else attendant end
where crawl_id = $1 and (state = 'running' or state = 'paused' and attendant = 'left') returning crawl_id;

-- name: crawls_attended
select crawl_id, attendant from crawls where state = 'running' and attendant <> 'left';

-- name: crawl_attend
-- No row: its last run has left it, maybe since somebody looked (it has to be resumed first, or it would look as if paused by hand).
update crawls set attendant = $2 where crawl_id = $1 and (state <> 'paused' or attendant is distinct from 'left') returning crawl_id;

-- name: crawl_leave
-- As crawl_pause, by the run $2 that attended it (or on its behalf, when it is dead): running it again lets it go on.
update crawls set state = 'paused', rearm = null, version = version + 1, attendant = 'left'
where crawl_id = $1 and state = 'running' and attendant = $2 returning crawl_id;

-- name: crawl_cancel
-- A row if it was running or paused. What is out on the queue or open ends by itself: no URL of it is asked for any more.
update crawls set state = 'cancelled', rearm = null, version = version + 1, finished_at = now(), finished_why = 'cancelled'
where crawl_id = $1 and state in ('running', 'paused') returning crawl_id;

-- name: crawl_resume
-- First part of resume, committed by itself: whoever releases a domain from now on counts its URLs as due. The domains released
-- before are touched after it, one batch after the other; rearm tells how far that has come.
update crawls set state = 'running', rearm = -9223372036854775808, version = version + 1, finished_at = null, finished_why = null
where crawl_id = $1 and state in ('paused', 'cancelled') and not deleting returning crawl_id;

-- name: rearm_left
-- How far a resume has come; null: none is under way.
select rearm from crawls where crawl_id = $1 and state = 'running' and rearm is not null;

-- name: rearm_domains
-- $1 crawl, $2 how far it has come, $3 most: the next domains with a due URL of the crawl.
select d.domain_id, d.name, u.due_at from domains d cross join lateral (
  select due_at from urls where domain_id = d.domain_id and crawl_id = $1 and due_at is not null order by due_at limit 1) u
where d.domain_id > $2 order by d.domain_id limit $3;

-- name: rearm_step
-- $1 crawl, $2 how far it had come, $3 how far it has now (null: to the end). Compare and set: of two resumes only one goes on.
update crawls set rearm = $3 where crawl_id = $1 and state = 'running' and rearm = $2 returning crawl_id;

-- name: crawl_touch
-- After crawl_run: every domain with a due URL of this crawl is looked at again. $1 crawl.
select distinct u.domain_id, d.name, min(u.due_at) as due_at from urls u join domains d using (domain_id)
where u.crawl_id = $1 and u.due_at is not null group by 1, 2;

-- name: add_keys
insert into scope_keys (crawl_id, scope_key) select $1, k from unnest($2::bigint[]) k on conflict do nothing returning scope_key;

-- name: crawl_bump
update crawls set version = version + 1 where crawl_id = $1;

-- name: crawl_recount
-- The exact count, when a crawl gets a limit it did not have before.
update crawls set pages = (select coalesce(sum(pages), 0) from domain_pages p where p.crawl_id = crawls.crawl_id)
where crawl_id = $1;

-- name: retime_now
-- `crawl refresh --all`: from here on everything of the crawl that was visited is made due, as retime_rows gets on. A finished crawl runs again.
-- $2 how many are still due of the one before: if any, that goes on.
update crawls set state = 'running', finished_at = null, finished_why = null, version = version + 1, retime_now = true,
  retime = case when retime_now and ($2::bigint > 0 or retime is not null) then retime else -9223372036854775808 end,
  retime_hash = case when retime_now and ($2 > 0 or retime is not null) then retime_hash else '' end,
  retime_at = case when retime_now and ($2 > 0 or retime is not null) then retime_at else now() end
where crawl_id = $1 and not deleting and state in ('running', 'finished') returning crawl_id;

-- name: retime_undone
-- What `crawl refresh --all` made due of crawl $1, and was not visited since.
select count(*) from crawls c cross join domains d
join urls u on u.domain_id = d.domain_id and u.crawl_id = c.crawl_id and u.due_at = c.retime_at
where c.crawl_id = $1 and c.retime_now;

-- name: retime_left
select crawl_id from crawls where retime is not null and not deleting order by crawl_id;

-- name: retime_place
select retime, retime_hash, retime_now, retime_at, refresh, now() as now from crawls where crawl_id = $1 and retime is not null and not deleting;

-- name: retime_rows
-- Step 3. The next few URLs of crawl $1 behind domain $2 and hash $3, at most $4, in key order; their next visit as $5 says: off, now
-- (at $7, when that was wished), every ($6 seconds after the last), adaptive ($6: the first interval) or at $7. A row for each, and one more that says how far was looked
-- (no domain: to the end).
with ahead as materialized (select domain_id from domains where domain_id > $2 order by domain_id limit 500),
chosen as materialized (
  select domain_id, url_hash from (
    (select u.domain_id, u.url_hash from urls u where u.domain_id = $2 and u.crawl_id = $1 and u.url_hash > $3 order by u.url_hash limit $4)
    union all
    (select a.domain_id, u.url_hash from ahead a cross join lateral (
       select url_hash from urls where domain_id = a.domain_id and crawl_id = $1 order by url_hash limit $4) u
     order by 1, 2 limit $4)) x order by 1, 2 limit $4),
locked as materialized (
  select u.domain_id, u.crawl_id, u.url_hash, coalesce(p.fetched_at, s.fetched_at, now()) as fetched_at
  from chosen c join urls u on u.domain_id = c.domain_id and u.crawl_id = $1 and u.url_hash = c.url_hash
  left join pages p on p.domain_id = c.domain_id and p.crawl_id = $1 and p.url_hash = c.url_hash
  left join sitemaps s on s.domain_id = c.domain_id and s.crawl_id = $1 and s.url_hash = c.url_hash
  where u.outcome not in ('robots_refused', 'scope_refused', 'address_refused', 'type_refused') and (u.due_at is null or u.due_at >= '1971-01-01')
    and ($5 = 'now' or (not u.open and u.outcome <> 'gone'))
  order by 1, 2, 3 for no key update of u),
moved as (
  update urls u set due_at = case $5 when 'now' then $7::timestamptz when 'every' then l.fetched_at + make_interval(secs => $6)
    when 'adaptive' then l.fetched_at + coalesce(u.revisit, make_interval(secs => $6)) when 'at' then $7::timestamptz end
  from locked l where u.domain_id = l.domain_id and u.crawl_id = l.crawl_id and u.url_hash = l.url_hash
  returning u.domain_id, u.url_hash, u.due_at)
select * from (
  select c.domain_id, d.name, c.url_hash, m.due_at, (m.url_hash is not null)::int as moved
  from chosen c left join moved m using (domain_id, url_hash) left join domains d using (domain_id)
  union all
  select max(domain_id), null, null, null, 0 from ahead) x
order by url_hash is null, domain_id, url_hash;

-- name: retime_step
-- Step 4. $1 crawl, $2 to $5 as retime_place had it, $6 and $7 how far it has come (null: to the end). Compare and set. retime_now stays until
-- the crawl is finished or has another rule: until then a crawl without a rule looks at what it has as one with a rule does.
update crawls set retime = $6::bigint, retime_hash = $7
where crawl_id = $1 and retime = $2 and retime_hash = $3 and refresh = $4 and retime_now = $5 returning crawl_id;

-- name: look_up
-- For the rest of the transaction: by index, as a worker's session always does. Open URLs are few in the end, whatever the statistics
-- say, and reading all partitions of urls to find that there is none would be the dearest thing `crawl run` does.
select set_config('enable_seqscan', 'off', true);

-- name: look_up_all
-- As look_up, and joins too go row by row: for who removes a few thousand rows of a table that may have a hundred million.
select set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
  set_config('enable_bitmapscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true);

-- name: clock
select now();

-- name: finish_lock
-- $1 crawl. Waits for everybody who has crawl_hold, and they for us.
select pg_advisory_xact_lock(20012, $1);

-- name: finish
-- A NEW snapshot after finish_lock; `seed` and `refresh` hold the same lock before they insert and set it running.
-- One with a refresh rule is never done, nor is one of which something waits to be looked at again (`crawl refresh`, and interrupted).
update crawls set state = 'finished', version = version + 1, finished_at = now(), finished_why = 'done', retime_now = false
where crawl_id = $1 and state = 'running' and refresh = 'off' and retime is null and not exists (select from urls where crawl_id = $1 and open)
  and not exists (
    select from domains d cross join lateral (
      select from urls u where u.domain_id = d.domain_id and u.crawl_id = $1 and u.due_at <= now() and not u.open
      order by u.due_at limit 1) u
    where d.next_at is not null and d.due_at <= now())
returning crawl_id;

-- name: crawl_busy
-- What `crawl run` waits for: a visit that is going on (a held domain counts until its lease ends), a URL that was never visited
-- unless its domain asked for rest, and whatever will be possible within $2. Of what has an outcome only that which was due when the run
-- began, $3 (null: nothing), or it would never end.
select case
  when exists (
    select from urls u join domains d using (domain_id)
    where u.crawl_id = $1 and u.open and u.due_at is not null and d.blocked is null
      and (d.holder is not null or (u.outcome is null and d.waits_for is null)
           or greatest(u.due_at, d.ready_at) <= clock_timestamp() + $2::interval)) then true
  when $3::timestamptz is null then false
  else (
    with recursive lines(due_for) as (
      (select min(due_for) from domains where next_at is not null)
      union all
      select (select min(d.due_for) from domains d where d.next_at is not null and d.due_for > l.due_for) from lines l
      where l.due_for is not null)
    select exists (
      select from (
        (select domain_id from domains where holder is not null and due_at <= $3 and blocked is null)
        union all
        (select d.domain_id from lines l join domains d on d.due_for = l.due_for
         where d.next_at <= clock_timestamp() + $2::interval and d.due_at <= $3)) d
      cross join lateral (
        select u.due_at from urls u where u.domain_id = d.domain_id and u.crawl_id = $1 and u.due_at <= $3 and not u.open
        order by u.due_at limit 1) u))
  end;

-- name: crawl_waiting
-- What still waits, and since when it could go on: for the summary.
select d.name, d.waits_for, d.blocked, count(*) as urls, min(greatest(u.due_at, d.ready_at)) as next_at, min(u.outcome) as outcome,
  bool_or(d.holder is not null and d.ready_at > clock_timestamp()) as held, bool_or(d.holder = 'queue') as queued
from urls u join domains d using (domain_id) where u.crawl_id = $1 and u.open
group by 1, 2, 3 order by next_at nulls last limit $2;

-- name: crawl_totals
select outcome, sum(urls)::bigint as urls, sum(fetches)::bigint as fetches, sum(bytes)::bigint as bytes
from crawl_counts where crawl_id = $1 group by 1 having sum(urls) <> 0 or sum(fetches) <> 0 order by 1;

-- name: crawls_counted
-- Every crawl with its sums and its URLs by outcome ('' is: none yet) as JSON.
select c.*, coalesce(t.urls, 0) as urls, coalesce(t.stored, 0) as stored, coalesce(t.requests, 0) as requests,
  coalesce(t.bytes, 0) as bytes, coalesce(t.outcomes, '{}')::text as outcomes, now() as now
from crawls c left join lateral (
  select sum(o.urls)::bigint as urls, sum(o.requests)::bigint as requests, sum(o.bytes)::bigint as bytes,
    (sum(o.urls) filter (where o.outcome in ('ok', 'not_modified')))::bigint as stored,
    json_object_agg(o.outcome, o.urls order by o.outcome) filter (where o.urls <> 0) as outcomes
  from (select outcome, sum(urls)::bigint as urls, sum(fetches) as requests, sum(bytes) as bytes
        from crawl_counts k where k.crawl_id = c.crawl_id group by outcome) o) t on true
order by c.crawl_id;

-- name: crawl_domains
-- $1 crawl, $2 most of each. The slowest and the most failing domains of the last day.
with day as (
  select f.domain_id, count(*) as fetches, avg(f.ms)::float8 as ms, count(*) filter (where f.outcome not in
    ('ok', 'not_modified', 'redirect', 'robots_refused', 'scope_refused', 'type_refused')) as failed
  from fetches f where f.crawl_id = $1 and f.at > now() - interval '1 day' group by 1)
select d.name, x.* from (
  (select 'slow' as list, * from day order by ms desc, domain_id limit $2)
  union all
  (select 'failing' as list, * from day where failed > 0 order by failed desc, domain_id limit $2)) x
join domains d using (domain_id)
order by x.list, case x.list when 'slow' then x.ms else x.failed end desc, d.name;

-- name: crawl_recent
-- Pages stored, or found unchanged, in the last $2 seconds: how fast it is going.
select count(*) from fetches where crawl_id = $1 and outcome in ('ok', 'not_modified') and at > now() - make_interval(secs => $2);

-- name: crawl_queue
-- Domains due and ready, due but resting, with a message out, with a worker.
select count(*) filter (where holder is null and next_at <= now()) as ready,
       count(*) filter (where holder is null and next_at > now()) as resting,
       count(*) filter (where holder = 'queue') as queued,
       count(*) filter (where holder <> 'queue' and ready_at > now()) as held
from domains;

-- name: rearm_seeds
-- Somebody names these URLs again: what had failed is tried now, whatever its patience, and what was only seen elsewhere (import_put) is
-- visited after all: a crawl begins with its seeds. $1 crawl, $2 domains, $3 hashes.
update urls u set due_at = now(), open = true, attempts = 0, seed = true, depth = case when u.seed then u.depth else 0 end
from (select * from unnest($2::bigint[], $3::bytea[]) x(domain_id, url_hash) order by 1, 2) x
where u.crawl_id = $1 and u.domain_id = x.domain_id and u.url_hash = x.url_hash
  and ((u.seed and coalesce(u.outcome, '') not in ('', 'ok', 'not_modified', 'redirect', 'gone', 'scope_refused'))
    or (u.detail = 'imported' and not u.open))
returning u.domain_id, (select name from domains d where d.domain_id = u.domain_id) as name, u.due_at;

-- name: urls_buried
-- $1 crawl, $2 how such a detail begins: how many of its URLs were given up because their turn was lost too often.
select count(*) from urls where crawl_id = $1 and not open and outcome = 'decode_error' and starts_with(detail, $2);

-- name: seeds_stored
-- Has any seed of the crawl been stored?
select exists (select from urls u join pages p using (domain_id, crawl_id, url_hash)
               where u.crawl_id = $1 and u.seed and p.first_at is not null);

-- name: seeds_failed
-- The seeds that were not stored, and why. $2: at most.
select u.url, u.outcome, u.detail, u.due_at from urls u
where u.crawl_id = $1 and u.seed and coalesce(u.outcome, '') not in ('ok', 'not_modified', 'redirect') limit $2;

-- name: find_url
-- Every crawl that knows the URL, with what was kept.
select c.name as crawl, c.state as crawl_state, u.*, d.name as domain, d.ready_at, d.holder, d.blocked, d.waits_for,
  extract(epoch from greatest(d.delay, d.delay_by_hand))::float8 as delay_seconds, d.failures, d.next_at, d.visited_at,
  d.delay_by_hand is not null as by_hand, f.url as found_url, now() as now
from urls u join crawls c using (crawl_id) join domains d using (domain_id)
left join urls f on f.domain_id = u.found_domain_id and f.crawl_id = u.crawl_id and f.url_hash = u.found_hash
where u.domain_id = $1 and u.url_hash = $2 order by c.crawl_id;

-- name: find_domain
select *, extract(epoch from greatest(delay, delay_by_hand))::float8 as delay_seconds, now() as now from domains where domain_id = $1;

-- name: seeds_of_domain
-- $1 domain, $2 crawl, $3 most: which seed brought a URL of this domain into scope?
select url from urls where domain_id = $1 and crawl_id = $2 and seed order by url_hash limit $3;

-- name: domain_budget
-- $1 domain, $2 crawl: stored pages, as the budgets count them.
select pages, fresh, alike, granted, room, promised, kept from domain_pages where domain_id = $1 and crawl_id = $2;

-- name: page_likeness
-- $1 domain, $2 crawl, $3 URL: what was kept of the page, and how many others of the domain say the same; or nearly, by at most $4 bits,
-- as record_pages sees it, of the first 10,000 in question.
select p.status, p.title, p.redirect_to, p.text_digest, p.first_at, p.fetched_at, p.changed_at, (select count(*) from pages q where q.domain_id = p.domain_id and q.crawl_id = p.crawl_id
  and q.gist = p.gist and q.url_hash <> p.url_hash) as alike, (select count(*) from (
    select q.simhash, q.gist, q.url_hash from pages q where q.domain_id = p.domain_id and q.crawl_id = p.crawl_id
      and q.simhash >> 48 = p.simhash >> 48 and q.simhash is not null limit 10000) q
  where q.url_hash <> p.url_hash and q.gist is distinct from p.gist and bit_count((q.simhash # p.simhash)::bit(64)) <= $4) as nearly
from pages p where p.domain_id = $1 and p.crawl_id = $2 and p.url_hash = $3;

-- name: url_fetches
select at, outcome, status, bytes, ms, detail from fetches
where domain_id = $1 and url_hash = $2 and crawl_id = $3 order by at desc limit $4;

-- name: show_page
select p.*, u.url, u.depth, b.data, b.size, c.name as crawl from pages p join urls u using (domain_id, crawl_id, url_hash)
join crawls c using (crawl_id) left join bodies b using (digest) where p.domain_id = $1 and p.url_hash = $2 order by c.crawl_id;

-- name: worker_here
-- $9 how it is, as crawler/core/vitals.py has it. What time it is here comes back.
insert into workers (worker_id, host, boot, pid, began, version, slots, queue, vitals) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (worker_id) do update set seen_at = now(), slots = excluded.slots, vitals = excluded.vitals
returning extract(epoch from now())::float8;

-- name: workers_gone
delete from workers where worker_id = any($1::text[]);

-- name: workers_known
select worker_id, host, boot, pid, began from workers;

-- name: free_dead
-- $1 workers that are certainly dead. What they held need not wait for the lease to end, but for one whole pause, since nobody knows
-- when the last request was; the turn counts as lost. What they had dispatched, and nobody accepted, is free at once: its message may
-- never have left, and if it has, its number is old now.
with mine as (
  select domain_id from domains
  where holder is not null and (holder = any($1::text[]) or (holder = 'queue' and dispatcher = any($1::text[])))
  order by domain_id for no key update)
update domains d
set turn = d.turn + 1, holder = null, lost = greatest(d.lost, (d.holder <> 'queue')::int),
    ready_at = least(d.ready_at, clock_timestamp() + case when d.holder = 'queue' then interval '0' else greatest(d.delay, d.delay_by_hand) end)
from mine where d.domain_id = mine.domain_id returning d.domain_id;

-- name: workers_elsewhere
-- Workers at work that take their turns from another queue than $1.
select count(*)::int from workers where queue <> $1 and slots > 0 and seen_at > now() - interval '1 minute';

-- name: workers_forget
-- Rows that nobody has renewed for a day: of machines that never came back. What they held is free by itself long since.
delete from workers where seen_at < now() - interval '1 day' returning worker_id;

-- name: workers_slots
select coalesce(sum(slots), 0)::int as slots, count(*)::int as workers from workers where seen_at > now() - interval '1 minute';

-- name: workers_shown
-- Everybody who signed in, and how many domains each visits now. Those are few, and have an index of their own (domains_out).
select w.worker_id, w.host, w.pid, w.version, w.slots, w.queue, w.started_at, w.seen_at,
  w.seen_at <= now() - interval '1 minute' as silent, coalesce(h.n, 0) as visiting, now() as now
from workers w left join (
  select holder, count(*) as n from domains where holder is not null and holder <> 'queue' and ready_at > now() group by 1) h
on h.holder = w.worker_id
order by w.host, w.started_at, w.worker_id;

-- name: oldest_due
-- The domain that could have been dispatched for longest, and was not. A row of the index for each line, as in next_due.
with recursive lines(due_for) as (
  (select min(due_for) from domains where next_at is not null)
  union all
  select (select min(d.due_for) from domains d where d.next_at is not null and d.due_for > l.due_for) from lines l
  where l.due_for is not null)
select f.name, f.next_at, now() as now from lines l cross join lateral (
  select d.name, d.next_at from domains d where d.due_for = l.due_for and d.next_at <= now() order by d.next_at limit 1) f
order by f.next_at limit 1;

-- name: rearm_buried
-- Step 3. `crawl dead retry`: what bury_urls took out of the frontier is due again, and as it was before. $1 domain, $2 crawl_id[],
-- $3 url_hash[], $4 the outcome before (null: none), $5 how the detail of what was buried begins. What was visited or armed again
-- meanwhile is only counted.
with named as materialized (
  select u.domain_id, u.crawl_id, u.url_hash, u.due_at, x.previous, u.kind,
    not u.open and u.due_at is null and u.outcome = 'decode_error' and starts_with(u.detail, $5) as buried
  from unnest($2::int[], $3::bytea[], $4::text[]) x(crawl_id, url_hash, previous)
  join urls u on u.domain_id = $1 and u.crawl_id = x.crawl_id and u.url_hash = x.url_hash
  order by 1, 2, 3 for no key update of u),
again as (
  update urls u set due_at = now(), open = true, attempts = 0, outcome = n.previous, detail = '' from named n
  where n.buried and u.domain_id = n.domain_id and u.crawl_id = n.crawl_id and u.url_hash = n.url_hash)
select crawl_id, previous, count(*) filter (where buried) as armed, count(*) filter (where buried and kind = 'page') as counted,
  count(*) filter (where due_at is not null) as due, now() as due_at
from named group by 1, 2 order by 1, 2;

-- name: domain_found
-- Its turns count as never lost. Under the lock of touch.
update domains set lost = 0 where domain_id = $1 and lost <> 0;

-- name: crawls_of
select crawl_id, name, state, attendant from crawls where crawl_id = any($1::int[]) order by crawl_id;

-- name: message_put
insert into messages (queue, body, reason) select $1, b, $3 from unnest($2::bytea[]) b returning message_id;

-- name: message_take
-- $1 consumer, $2 most, $3 queues. Urgent ones first ('crawl.turns.urgent' sorts behind 'crawl.turns'), then in the order they were
-- sent; what others are just taking is skipped.
with waiting as (
  select message_id from messages where queue = any($3::text[]) and consumer is null order by queue desc, message_id limit $2
  for update skip locked)
update messages m set consumer = $1, deliveries = m.deliveries + 1 from waiting w where m.message_id = w.message_id
returning m.message_id, m.queue, m.body;

-- name: message_ack
delete from messages where message_id = any($1::bigint[]) and consumer = $2;

-- name: message_back
-- Not begun: somebody else may have them.
update messages set consumer = null where consumer = $1 and message_id = any($2::bigint[]);

-- name: message_back_but
-- All that consumer $1 has, but for $2: what was taken while the connection broke, so that nobody knows of it.
update messages set consumer = null where consumer = $1 and message_id <> all($2::bigint[]);

-- name: message_dead
update messages set queue = 'crawl.dead', consumer = null, reason = $3, sent_at = now() where message_id = $1 and consumer = $2;

-- name: message_orphans
-- Consumers hold an advisory lock while their session lives (class 20011): what a dead one had is waiting again. $1: those that had
-- no lock when we looked before; returned are those that have none now (a session that broke is taken up again in between).
-- The sixth delivery is none: whoever takes it dies of it.
with lockless as (
  select consumer from messages m where consumer is not null and not exists (
    select from pg_locks l where l.locktype = 'advisory' and l.classid = 20011 and l.objid = m.consumer::oid
      and l.database = (select oid from pg_database where datname = current_database()))
  group by 1),
freed as (
  update messages m
  set consumer = null, queue = case when deliveries >= 5 then 'crawl.dead' else queue end,
      reason = case when deliveries >= 5 then 'delivered 5 times, and its consumer died each time' end
  from lockless l where m.consumer = l.consumer and l.consumer = any($1::int[]))
select consumer from lockless where consumer <> all($1::int[]);

-- name: message_letters
-- $1 queue, $2 numbers (null: all), $3 after this one, $4 most.
select message_id, body, reason, sent_at from messages
where queue = $1 and consumer is null and message_id > $3 and ($2::bigint[] is null or message_id = any($2)) order by message_id limit $4;

-- name: message_drop
delete from messages where message_id = $1 and queue = $2;

-- name: message_depth
select count(*) from messages where queue = any($1::text[]) and consumer is null;

-- name: crawl_delete_begin
-- From now on nothing is written for it; erase_barrier waits for those who may not know yet.
update crawls set deleting = true, state = 'cancelled', rearm = null, version = version + 1 where crawl_id = $1 returning crawl_id;

-- name: crawl_delete_end
-- Its keys and counts go with it.
delete from crawls where crawl_id = $1 and deleting;

-- name: crawl_extent
-- What `crawl delete` is about to remove.
select coalesce(sum(urls), 0)::bigint as urls, coalesce(sum(urls) filter (where outcome in ('ok', 'not_modified')), 0)::bigint as pages
from crawl_counts where crawl_id = $1;

-- name: crawl_seed_domains
-- $1 crawl: the domains of the seeds that a person named (a seed that moved passes its seedhood on, but not the trust).
select distinct d.name from urls u join domains d using (domain_id) where u.crawl_id = $1 and u.seed and u.hops = 0 order by 1;

-- name: erase_barrier
-- Everybody who records has ended, or begins later than this and sees what was marked.
select pg_advisory_xact_lock(20013);

-- name: erase_alone
-- $1 crawl: whether it is ours to delete, for as long as this session lasts.
select pg_try_advisory_lock(20018, $1);

-- name: erase_domains
-- $1 crawl, $2 after this domain, $3 most: the next domains of which the crawl holds anything.
select d.domain_id from domains d where d.domain_id > $2 and (
    exists (select from urls u where u.domain_id = d.domain_id and u.crawl_id = $1)
    or exists (select from pages p where p.domain_id = d.domain_id and p.crawl_id = $1)
    or exists (select from versions v where v.domain_id = d.domain_id and v.crawl_id = $1)
    or exists (select from sitemaps s where s.domain_id = d.domain_id and s.crawl_id = $1)
    or exists (select from links l where l.domain_id = d.domain_id and l.crawl_id = $1)
    or exists (select from page_words w where w.domain_id = d.domain_id and w.crawl_id = $1))
order by d.domain_id limit $3;

-- name: erase_urls
-- Step 3. $1 domains, $2 crawl (null: all), $3 most. What is gone, and how much of it was counted: sitemaps are not.
with doomed as (
  select domain_id, crawl_id, url_hash from urls where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2)
  order by 1, 2, 3 limit $3 for update),
gone as (
  delete from urls u using doomed x where u.domain_id = x.domain_id and u.crawl_id = x.crawl_id and u.url_hash = x.url_hash
  returning u.crawl_id, coalesce(u.outcome, '') as outcome, u.kind)
select crawl_id, outcome, count(*) as n, count(*) filter (where kind = 'page') as counted from gone group by 1, 2;

-- name: erase_pages
-- Step 3. $1 domains, $2 crawl (null: all), $3 most: a row for each page, with its body.
with doomed as (
  select domain_id, crawl_id, url_hash from pages where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2)
  order by 1, 2, 3 limit $3 for update)
delete from pages p using doomed x where p.domain_id = x.domain_id and p.crawl_id = x.crawl_id and p.url_hash = x.url_hash
returning p.digest;

-- name: erase_versions
-- Step 3. As erase_pages, for what pages said before.
with doomed as (
  select domain_id, crawl_id, url_hash, fetched_at from versions where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2)
  order by 1, 2, 3, 4 limit $3 for update)
delete from versions v using doomed x where v.domain_id = x.domain_id and v.crawl_id = x.crawl_id and v.url_hash = x.url_hash
  and v.fetched_at = x.fetched_at
returning v.digest;

-- name: erase_sitemaps
-- Step 3. As erase_urls.
with doomed as (
  select domain_id, crawl_id, url_hash from sitemaps where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2)
  order by 1, 2, 3 limit $3 for update)
delete from sitemaps s using doomed x where s.domain_id = x.domain_id and s.crawl_id = x.crawl_id and s.url_hash = x.url_hash
returning 1;

-- name: erase_links
-- Step 3. As erase_urls.
with doomed as (
  select domain_id, crawl_id, url_hash from links where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2)
  order by 1, 2, 3 limit $3 for update)
delete from links l using doomed x where l.domain_id = x.domain_id and l.crawl_id = x.crawl_id and l.url_hash = x.url_hash
returning 1;

-- name: erase_words
-- As erase_urls, after the pages.
with doomed as (
  select domain_id, crawl_id, url_hash from page_words where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2)
  order by 1, 2, 3 limit $3 for update)
delete from page_words w using doomed x where w.domain_id = x.domain_id and w.crawl_id = x.crawl_id and w.url_hash = x.url_hash
returning 1;

-- name: erase_fetches
-- Step 3.
delete from fetches where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2);

-- name: erase_domain_pages
-- Step 3, last.
delete from domain_pages where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2) returning crawl_id, pages;

-- name: erase_budget
-- Step 4. $1 crawls, $2 pages removed: what is no longer stored counts no longer.
update crawls c set pages = greatest(0, c.pages - x.n), version = c.version + 1
from (select crawl_id, n from unnest($1::int[], $2::bigint[]) x(crawl_id, n) order by 1) x
where c.crawl_id = x.crawl_id and c.max_pages is not null;

-- name: erase_digests
-- $1 domains, $2 crawl (null: all), $3 most: the bodies of the pages that erase_pages removes next. Nobody else writes these pages.
select distinct digest from (
  select digest from pages where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2)
  order by domain_id, crawl_id, url_hash limit $3) p where digest is not null;

-- name: erase_version_digests
-- As erase_digests, for erase_versions.
select distinct digest from (
  select digest from versions where domain_id = any($1::bigint[]) and ($2::int is null or crawl_id = $2)
  order by domain_id, crawl_id, url_hash, fetched_at limit $3) v;

-- name: bodies_lock
-- Step 1. Whoever takes one of these bodies for a page waits for us, or we for them.
select digest from bodies where digest = any($1::bytea[]) order by digest for update;

-- name: bodies_drop
-- A NEW snapshot after bodies_lock, when the pages and versions are gone: those that no page and no version names any more.
delete from bodies b where b.digest = any($1::bytea[])
  and not exists (select from pages p where p.digest = b.digest) and not exists (select from versions v where v.digest = b.digest)
returning digest;

-- name: domains_lock
select domain_id from domains where domain_id = any($1::bigint[]) order by domain_id for update;

-- name: domains_drop
-- $1 domains. A NEW snapshot after domains_lock: those that no crawl knows any more. What was set by hand stays, and so does what is held or still rests:
-- with its row, the pause it is owed would be forgotten. Origins stay: they are facts about a site, and of no crawl.
delete from domains d
where d.domain_id = any($1::bigint[]) and d.holder is null and d.ready_at <= clock_timestamp() and d.blocked is null
  and d.delay_by_hand is null and d.concurrency_by_hand is null
  and not exists (select from urls u where u.domain_id = d.domain_id) and not exists (select from pages p where p.domain_id = d.domain_id)
returning d.domain_id;

-- name: domain_forget
-- $1 domain, $2 name, $3 reason: blocked, and nothing is written for it from now on, until it is unblocked.
insert into domains (domain_id, name, blocked, forgotten_at) values ($1, $2, $3, now())
on conflict (domain_id) do update set blocked = coalesce(domains.blocked, excluded.blocked), forgotten_at = excluded.forgotten_at;

-- name: domain_blank
-- $1 domain, just touched, without URLs: what is left is the block, the pause it is owed, and who may act.
-- A turn that is queued holds URLs: it is withdrawn.
update domains set due_at = null, address = null, visited_at = null, waits_for = null, failures = 0, throttled = 0, lost = 0,
  turn = case when holder = 'queue' then turn + 1 else turn end, holder = nullif(holder, 'queue')
where domain_id = $1 and not exists (select from urls u where u.domain_id = $1);

-- name: domain_origins
delete from origins where domain_id = $1;

-- name: domains_block
-- $1 domains, $2 names, $3 why; also of domains never seen. Running turns hear of it (domain_changed) and end before their next request.
insert into domains (domain_id, name, blocked)
select x.domain_id, x.name, $3 from unnest($1::bigint[], $2::text[]) x(domain_id, name) order by 1
on conflict (domain_id) do update set blocked = excluded.blocked where domains.blocked is distinct from excluded.blocked
returning domain_id;

-- name: domain_unblock
-- due_at was kept all the while: no touch is needed.
update domains set blocked = null, forgotten_at = null where domain_id = $1 and blocked is not null returning domain_id;

-- name: domain_tune
-- $1 domain, $2 name, $3 whether to set the delay, $4 delay in seconds, $5 whether to set the concurrency, $6 that.
-- A longer delay counts at once: a domain at rest rests longer.
insert into domains as d (domain_id, name, delay_by_hand, concurrency_by_hand)
values ($1, $2, case when $3 then make_interval(secs => $4::float8) end, case when $5 then $6::smallint end)
on conflict (domain_id) do update set
  delay_by_hand = case when $3 then excluded.delay_by_hand else d.delay_by_hand end,
  concurrency_by_hand = case when $5 then excluded.concurrency_by_hand else d.concurrency_by_hand end,
  ready_at = case when $3 and d.holder is null and d.visited_at is not null
    then greatest(d.ready_at, d.visited_at + excluded.delay_by_hand) else d.ready_at end;

-- name: domains_by_hand
-- $1 domains: what is set by hand of them, asked for while they are visited.
select domain_id, blocked, extract(epoch from delay_by_hand)::float8 as delay, concurrency_by_hand,
  forgotten_at is not null as forgotten from domains
where domain_id = any($1::bigint[]);

-- name: domain_crawls
-- $1 domain: what each crawl has of it.
select c.name, c.state, count(*) as urls, count(*) filter (where u.outcome in ('ok', 'not_modified')) as pages,
  count(*) filter (where u.open) as open
from urls u join crawls c using (crawl_id) where u.domain_id = $1 group by c.crawl_id order by c.crawl_id;

-- name: domain_rules
select origin, status, fetched_at, expires_at, detail from origins where domain_id = $1 order by origin;

-- name: domains_like
-- Names that end like this one: for who meant another. $1 the name, $2 most.
select name from domains where name like '%' || $1 or name like $1 || '%' order by name limit $2;

-- name: seed_tables
-- What `crawl seed` puts on the frontier by one transaction, filled by COPY, and which domains have something to do then; both go with
-- the transaction. The statements below look each row up by its whole key: OFFSET 0 keeps the look-up out of the join order and
-- everything else out of the look-up, for by the statistics of a young table any index would do, such as that of all seeds.
do $$ begin
  create temporary table seeds (domain_id bigint not null, url_hash bytea not null, url text not null, domain text not null,
    scope_key bigint not null, sooner float8, lastmod timestamptz, changefreq float8, at timestamptz, outcome text, status smallint,
    content_type text, revisit float8, period float8) on commit drop;
  create temporary table sown (domain_id bigint not null, due_at timestamptz not null) on commit drop;
end $$;

-- name: seed_blocked
-- Domains that will not be visited, because they are blocked (or forgotten), and why. For a warning: $1 at most.
select name, blocked from domains where domain_id = any(array(select distinct domain_id from seeds)) and blocked is not null
order by 1 limit $1;

-- name: seed_put
-- Step 2. $1 crawl, $2 seconds of priority: as record_links, for the table of seeds. How many were new. Those of a sitemap's file come with
-- what it says of them (`crawl import`).
with put as (
  insert into urls (domain_id, crawl_id, url_hash, url, due_at, seed, lastmod, changefreq)
  select x.domain_id, $1, x.url_hash, x.url, now() - make_interval(secs => $2 + coalesce(x.sooner, 0)), true, x.lastmod,
    make_interval(secs => x.changefreq) from seeds x
  where not exists (select from urls u where u.domain_id = x.domain_id and u.crawl_id = $1 and u.url_hash = x.url_hash offset 0)
    and not exists (select from domains f where f.domain_id = x.domain_id and f.forgotten_at is not null offset 0)
  order by 1, 3
  on conflict do nothing
  returning domain_id, due_at),
due as (insert into sown select domain_id, min(due_at) from put group by 1)
select count(*) from put;

-- name: seed_forgotten
-- How many of the seeds are of forgotten domains, for which nothing is written.
select count(*) from seeds x where exists (
  select from domains f where f.domain_id = x.domain_id and f.forgotten_at is not null offset 0);

-- name: seed_again
-- Step 3. $1 crawl: as rearm_seeds, for the table of seeds. ON CONFLICT, which finds and locks row by row in key order: an UPDATE would be
-- a join with urls, which in a young table is every seed with every URL. What was settled meanwhile has another outcome, and stays.
with failed as materialized (
  select x.domain_id, x.url_hash, x.url, u.outcome from (select * from seeds order by 1, 2) x cross join lateral (
    select u.outcome, u.seed, u.open, u.detail from urls u
    where u.domain_id = x.domain_id and u.crawl_id = $1 and u.url_hash = x.url_hash offset 0) u
  where (u.seed and coalesce(u.outcome, '') not in ('', 'ok', 'not_modified', 'redirect', 'gone', 'scope_refused'))
    or (u.detail = 'imported' and not u.open)),
armed as (
  insert into urls as u (domain_id, crawl_id, url_hash, url, outcome)
  select domain_id, $1, url_hash, url, outcome from failed order by 1, 3
  on conflict (domain_id, crawl_id, url_hash) do update
  set due_at = now(), open = true, attempts = 0, seed = true, depth = case when u.seed then u.depth else 0 end
  where u.outcome = excluded.outcome
  returning u.domain_id),
due as (insert into sown select domain_id, now() from armed group by 1)
select count(*) from armed;

-- name: seed_widens
-- $1 crawl: does any of the seeds widen the scope? Asked first, for the crawl's row (crawl_bump) comes before its keys in the lock order:
-- add_keys under crawl_lock may wait for ours.
select exists (select from (select distinct scope_key from seeds) x where not exists (
  select from scope_keys s where s.crawl_id = $1 and s.scope_key = x.scope_key offset 0));

-- name: seed_keys
-- Step 4. $1 crawl.
insert into scope_keys (crawl_id, scope_key) select $1, scope_key from seeds group by 2 order by 2 on conflict do nothing;

-- name: seed_touch
-- Step 5. $1 crawl: as touch, for the domains of the seeds: 'infinity' is due never. How many are due now.
with due as materialized (
  select domain_id, min(s.domain) as name, min(t.due_at) as due_at from sown t join seeds s using (domain_id) group by 1),
touched as (
  insert into domains (domain_id, name, due_at, due_for)
  select domain_id, name, nullif(due_at, 'infinity'), $1 from due order by domain_id
  on conflict (domain_id) do update
  set due_at = least(domains.due_at, excluded.due_at),
      due_for = case when domains.due_at <= now() then greatest(domains.due_for, excluded.due_for) else excluded.due_for end
  where excluded.due_at < 'infinity'
    and (domains.due_at is null or domains.due_at > excluded.due_at or (excluded.due_at <= now() and domains.due_for < excluded.due_for)))
select count(*) from due where due_at <= now();

-- name: seed_run
-- As crawl_run. What else is due of the crawl is touched after this has committed, as by a resume: it may be a million domains.
update crawls set state = 'running', rearm = -9223372036854775808, version = version + 1, finished_at = null, finished_why = null
where crawl_id = $1 and state = 'finished' and (refresh <> 'off' or max_pages is null or pages < max_pages)
  and (max_bytes is null or max_bytes > (select coalesce(sum(bytes), 0) from crawl_counts where crawl_id = $1))
  and (refresh <> 'off' or exists (select from urls where crawl_id = $1 and open)) returning crawl_id;

-- name: crawl_adopt
-- $1 crawl: from now on it belongs to whoever works, and no run that ends leaves it.
update crawls set attendant = null where crawl_id = $1 and attendant is not null returning crawl_id;

-- === the timetable and upkeep (scheduler/, crawler/upkeep.py)

-- name: jobs_plan
-- $1 names: a job that nobody knew of is due now.
insert into jobs (name, next_at) select name, clock_timestamp() from unnest($1::text[]) name order by 1 on conflict do nothing;

-- name: jobs_claim
-- $1 names, $2 every so many seconds, $3 who. Of two that claim a job the second finds it moved on. Its end sets the next time; should
-- that never come, the job is due again in ten minutes.
update jobs j set last_at = clock_timestamp(), ran_by = $3, result = null, ms = null, detail = '',
  next_at = clock_timestamp() + least(make_interval(secs => x.every), interval '10 minutes')
from unnest($1::text[], $2::float8[]) x(name, every)
where j.name = x.name and j.next_at <= clock_timestamp() returning j.name;

-- name: jobs_cut
-- $1 who: the lead is new, so what another has begun and not ended was cut off, or is ended by somebody who does not lead any more: it is
-- done again now, for each job may be done by two at once.
update jobs set next_at = clock_timestamp() where result is null and last_at is not null and ran_by is distinct from $1;

-- name: jobs_end
-- $1 name, $2 every so many seconds, $3 who, $4 milliseconds, $5 result, $6 detail. From its beginning, so that times do not drift; what
-- failed is tried again in a minute.
update jobs set ms = $4, result = $5, detail = $6, next_at = case $5
  when 'done' then greatest(clock_timestamp(), last_at + make_interval(secs => $2))
  else clock_timestamp() + least(make_interval(secs => $2), interval '1 minute') end
where name = $1 and ran_by = $3 and result is null;

-- name: jobs_shown
select name, last_at, ms, result, detail, next_at, ran_by, now() as now from jobs order by name;

-- name: schedulers_shown
-- Who signed in and has no slots is a scheduler.
select worker_id, host, pid, started_at, seen_at, seen_at > now() - interval '1 minute' as alive, now() as now
from workers where slots = 0 order by started_at, worker_id;

-- name: lead_session
-- $1 milliseconds, $2 who: a session without a word for so long ends, and its lock with it. TCP keepalives would see that a machine is
-- gone, but not that a process is frozen, for its kernel goes on answering. The name is for lead_shown.
select set_config('idle_session_timeout', $1, false), set_config('application_name', $2, false);

-- name: lead_take
-- A session that has it must not ask again: it would have it twice.
select pg_try_advisory_lock(20017);

-- name: lead_shown
-- The name of the session that leads, of at most 63 bytes; null also where we may not see the sessions of another user.
select a.application_name from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.classid = 0 and l.objid = 20017 and l.objsubid = 1 and l.granted
  and l.database = (select oid from pg_database where datname = current_database());

-- name: rules_shown
-- Looked for in the domains that come next, at most ten thousand for all crawls together: those of the crawl's own line, and, for a domain
-- stands in one line only, the first of the others. cut: there are more of them.
select c.name, c.state, c.refresh, c.retime is not null as retiming, coalesce(n.due, 0) as due, coalesce(n.cut, false) as cut, n.next_at,
  now() as now
from crawls c left join lateral (
  with most as materialized (select greatest(20, 5000 / greatest(1, count(*))) as n from crawls where state = 'running'),
  line as materialized (
    (select domain_id, ready_at from domains where due_for = c.crawl_id and next_at is not null order by next_at limit (select n from most))
    union
    (select domain_id, ready_at from domains where next_at is not null order by due_for, next_at limit (select n from most)))
  select
    (select count(*) from (select from line l cross join lateral (
       select from urls u where u.domain_id = l.domain_id and u.crawl_id = c.crawl_id and u.due_at <= now() limit 1001) x limit 1001) y) as due,
    (select count(*) from line) >= (select n from most) as cut,
    (select min(greatest(x.due_at, l.ready_at)) from line l cross join lateral (
       select u.due_at from urls u where u.domain_id = l.domain_id and u.crawl_id = c.crawl_id and u.due_at > now()
       order by u.due_at limit 1) x) as next_at) n on c.state = 'running'
where not c.deleting order by c.crawl_id;

-- name: scan_freely
-- For the rest of the transaction: who reads a day of fetches is no look-up (LOOKUPS in postgres.py forbids what serves that best). Nor is
-- what is to be summed up sorted for it: the statistics, which know nothing of the last minutes, would have it that these are few.
select set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true), set_config('enable_hashjoin', 'on', true),
  set_config('enable_sort', 'off', true), set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: fetch_days
-- The day partitions of fetches, and those that were detached and not dropped yet (until is null).
select c.relname::text as name, substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''([^'']+)''\)')::timestamptz as until
from pg_class c left join pg_inherits i on i.inhrelid = c.oid
where c.relname ~ '^fetches_[0-9]{8}$' and c.relkind = 'r'
  and c.relnamespace = (select relnamespace from pg_class where oid = 'fetches'::regclass)
  and (i.inhparent is null or i.inhparent = 'fetches'::regclass) order by 1;

-- name: fetches_rest_hours
-- $1 before: the hours that fetches_rest has rows of.
select distinct date_trunc('hour', at, 'UTC') as hour from fetches_rest where at < $1 order by 1;

-- name: fetches_rest_drop
-- $1 before, $2 most. What another is just removing is skipped.
delete from fetches_rest where ctid = any(array(select ctid from fetches_rest where at < $1 limit $2 for update skip locked)) returning 1;

-- name: hours_rolled
-- last: the last hour that was rolled up; complete: the first that is not over, or whose last rows may still be on their way.
select (select max(m.hour) from crawls c cross join lateral (select max(h.hour) as hour from fetch_hours h where h.crawl_id = c.crawl_id) m)
  as last, date_trunc('hour', now() - interval '10 minutes', 'UTC') as complete, (select min(at) from fetches_rest) as rest;

-- name: fetches_between
select exists (select from fetches where at >= $1 and at < $2);

-- name: roll_up
-- $1 from, $2 to, whole hours. Counted anew and replaced, so it may be done any number of times; never by less: of an hour whose rows are
-- partly gone (dropped with their day, forgotten with their domain) the former count stays. The crawls are held, or one that is deleted
-- meanwhile would leave rows that belong to none.
with held as materialized (select crawl_id from crawls order by crawl_id for key share)
insert into fetch_hours as h (hour, crawl_id, outcome, fetches, bytes, ms)
select date_trunc('hour', f.at, 'UTC'), f.crawl_id, f.outcome, count(*), sum(f.bytes)::bigint, sum(f.ms)::bigint
from fetches f join held using (crawl_id) where f.at >= $1 and f.at < $2 group by 1, 2, 3 order by 2, 1, 3
on conflict (crawl_id, hour, outcome) do update
set fetches = greatest(h.fetches, excluded.fetches), bytes = greatest(h.bytes, excluded.bytes), ms = greatest(h.ms, excluded.ms)
where excluded.fetches > h.fetches or excluded.bytes > h.bytes or excluded.ms > h.ms;

-- name: minutes_rolled
-- last: the last minute that was rolled up; complete: the first that is not over, or whose last rows may still be on their way.
select (select max(minute) from fetch_minutes) as last, date_trunc('minute', now() - interval '5 s', 'UTC') as complete;

-- name: roll_up_minutes
-- $1 from, $2 to, whole minutes. As roll_up.
with held as materialized (select crawl_id from crawls order by crawl_id for key share)
insert into fetch_minutes as m (minute, crawl_id, outcome, fetches, bytes, ms)
select date_bin('1 minute', f.at, '2000-01-01 00:00Z'), f.crawl_id, f.outcome, count(*), sum(f.bytes)::bigint, sum(f.ms)::bigint
from fetches f join held using (crawl_id) where f.at >= $1 and f.at < $2 group by 1, 2, 3 order by 1, 2, 3
on conflict (minute, crawl_id, outcome) do update
set fetches = greatest(m.fetches, excluded.fetches), bytes = greatest(m.bytes, excluded.bytes), ms = greatest(m.ms, excluded.ms)
where excluded.fetches > m.fetches or excluded.bytes > m.bytes or excluded.ms > m.ms;

-- name: minutes_drop
-- $1 before.
delete from fetch_minutes where minute < $1;

-- name: bodies_unused
-- $1 after this digest, $2 how many to look at: where that ends, and which of these nobody names and nobody touched for a day.
with batch as materialized (select digest, touched_at from bodies where digest > $1 order by digest limit $2)
select (select digest from batch order by 1 desc limit 1) as last, array(
  select s.digest from batch s where s.touched_at < now() - interval '1 day'
    and not exists (select from pages p where p.digest = s.digest) and not exists (select from versions v where v.digest = s.digest)
  order by 1) as unused;

-- name: bodies_unused_drop
-- A NEW snapshot after bodies_lock: who took one of them for a page meanwhile has touched it, and who comes now waits for us and puts it
-- there again (record_bodies).
delete from bodies b where b.digest = any($1::bytea[]) and b.touched_at < now() - interval '1 day'
  and not exists (select from pages p where p.digest = b.digest) and not exists (select from versions v where v.digest = b.digest)
returning digest;

-- name: robots_expired
-- $1 after this domain, $2 how many domains to look at, $3 most: where that ends, how many there were, and those of them whose robots.txt
-- has expired, which a running crawl will visit again or was refused URLs of, and which bear a visit and get none within the hour: a visit
-- asks by itself. First those that nobody visits, then by age. A URL that was refused is looked for among a thousand of the domain's: if
-- there are more, others of them are visited.
with batch as materialized (
  select domain_id, due_at, blocked is null and forgotten_at is null and holder is null and ready_at <= now()
    and (due_at is null or due_at > now() + interval '1 hour') as is_free
  from domains where domain_id > $1 order by domain_id limit $2),
wanting as materialized (
  select crawl_id, refresh <> 'off' as again,
    coalesce((select sum(urls) from crawl_counts k where k.crawl_id = c.crawl_id and k.outcome = 'robots_refused'), 0) > 0 as refused
  from crawls c where state = 'running'),
stale as (
  select s.domain_id, s.due_at is null as unvisited, min(o.expires_at) as since
  from batch s join origins o on o.domain_id = s.domain_id
  where s.is_free and o.expires_at < now() and exists (
    select from wanting w where w.again and exists (
        select from urls u where u.domain_id = s.domain_id and u.crawl_id = w.crawl_id and u.due_at is not null)
      or w.refused and exists (select from (
        select outcome from urls u where u.domain_id = s.domain_id and u.crawl_id = w.crawl_id order by url_hash limit 1000) x
        where outcome = 'robots_refused'))
  group by 1, 2)
select (select max(domain_id) from batch) as last, (select count(*) from batch) as seen,
  array(select domain_id from stale order by unvisited desc, since limit $3) as stale;

-- name: robots_renew
-- $1 domains: as robots_wish, for their origins whose robots.txt has expired; and those at work are told. In key order, as whoever holds
-- several rows of origins.
with old as (
  select domain_id, origin from origins where domain_id = any($1::bigint[]) and expires_at < now() order by 1, 2 for no key update),
wished as (
  update origins o set expires_at = 'epoch' from old where o.domain_id = old.domain_id and o.origin = old.origin returning o.domain_id)
select domain_id, pg_notify('domain_changed', domain_id::text) from wished group by 1 order by 1;

-- name: announced_so_far
-- $1 domain, $2 crawl: what its sitemaps have brought, each as it was last read.
select count(*)::int as sitemaps, coalesce(sum(taken), 0)::bigint as taken from sitemaps where domain_id = $1 and crawl_id = $2;

-- name: announced_sitemaps
-- $1 domain, $2 crawl, $3 most: how many sitemaps stand on the frontier, read or not. No index tells: it is asked once for each index of
-- sitemaps, and reads the domain's URLs of the crawl (some 100,000 at most, where it has a limit).
select count(*)::int as n from (select from urls where domain_id = $1 and crawl_id = $2 and kind = 'sitemap' limit $3) x;

-- name: sitemap_is_page
-- What was taken for a sitemap is a page of HTML, and is visited as one. $1 domain, $2 crawl, $3 hash, $4 due_at as it was handed out.
update urls set kind = 'page', depth = 1, due_at = now(), open = true, attempts = 0, outcome = null, detail = 'it was taken for a sitemap',
  revisit = null, period = null
where domain_id = $1 and crawl_id = $2 and url_hash = $3 and due_at = $4 and kind = 'sitemap'
returning due_at;

-- name: record_page_is_sitemap
-- Step 2. Sitemaps that are known as pages, because somebody linked to them, and of which no page was stored: they are read as what they
-- are, but for those that turned out to be pages (sitemap_is_page).
with named as (
  select u.domain_id, u.crawl_id, u.url_hash, u.outcome as previous, x.sooner, x.depth, x.found_domain_id, x.found_hash
  from unnest($1::bigint[], $2::int[], $3::bytea[], $4::float8[], $5::smallint[], $6::bigint[], $7::bytea[])
    as x(domain_id, crawl_id, url_hash, sooner, depth, found_domain_id, found_hash)
  join urls u using (domain_id, crawl_id, url_hash)
  where u.kind = 'page' and not u.seed and ((u.outcome is null and u.detail = '') or (not u.open and u.outcome = 'type_refused'))
  order by 1, 2, 3 for no key update of u),
turned as (
  update urls u set kind = 'sitemap', due_at = now() - make_interval(secs => n.sooner), open = true, attempts = 0, outcome = null,
    detail = '', depth = n.depth, found_domain_id = n.found_domain_id, found_hash = n.found_hash
  from named n where u.domain_id = n.domain_id and u.crawl_id = n.crawl_id and u.url_hash = n.url_hash
  returning u.domain_id, u.crawl_id, u.due_at, n.previous)
select domain_id, crawl_id, coalesce(previous, '') as previous, min(due_at) as due_at, count(*) as n from turned group by 1, 2, 3;

-- name: record_sitemap_vouched
-- Step 2. Sitemaps of crawl $1 ($2 domains, $3 hashes) that were read before the robots.txt of the origin ($4 domain, $5 origin) named them,
-- or others, and named URLs that they may not have named then: they are read again, once. What was kept is forgotten, or the same bytes would say nothing.
with named as (
  select u.domain_id, u.crawl_id, u.url_hash from unnest($2::bigint[], $3::bytea[]) as x(domain_id, url_hash)
  join urls u on u.domain_id = x.domain_id and u.crawl_id = $1 and u.url_hash = x.url_hash
  join sitemaps s on s.domain_id = u.domain_id and s.crawl_id = u.crawl_id and s.url_hash = u.url_hash
  join origins o on o.domain_id = $4 and o.origin = $5
  where u.kind = 'sitemap' and not u.open and (s.taken < s.urls or s.form = 'index') and s.fetched_at < o.sitemaps_at
  order by 1, 2, 3 for no key update of u),
forgotten as (
  update sitemaps s set digest = '', etag = null, last_modified = null from named n
  where s.domain_id = n.domain_id and s.crawl_id = n.crawl_id and s.url_hash = n.url_hash)
update urls u set due_at = now(), open = true, attempts = 0 from named n
where u.domain_id = n.domain_id and u.crawl_id = n.crawl_id and u.url_hash = n.url_hash
returning u.domain_id, u.due_at;

-- name: sitemaps_above
-- A sitemap ($1 domain, $2 crawl, $3 hash) and what led to it: indexes are followed to a depth, redirects to ten in a row.
with recursive above(domain_id, url_hash, url, found_domain_id, found_hash, n) as (
  select u.domain_id, u.url_hash, u.url, u.found_domain_id, u.found_hash, 0 from urls u
  where u.domain_id = $1 and u.crawl_id = $2 and u.url_hash = $3
  union all
  select u.domain_id, u.url_hash, u.url, u.found_domain_id, u.found_hash, a.n + 1 from above a
  join urls u on u.domain_id = a.found_domain_id and u.crawl_id = $2 and u.url_hash = a.found_hash
  where u.kind = 'sitemap' and a.n < 20)
select url from above order by n;

-- name: origins_vouching
-- $1 domains, $2 origins: those whose robots.txt names one of the sitemaps $3.
select o.origin from unnest($1::bigint[], $2::text[]) x(domain_id, origin) join origins o using (domain_id, origin)
where o.sitemaps && $3::text[];

-- name: announced_urls
-- URLs that the sitemaps of domain $1 have put on the frontier of crawl $2.
select coalesce((select announced from domain_pages where domain_id = $1 and crawl_id = $2), 0);

-- name: record_announced
-- Step 3, last. $1 domain, $2 crawl, $3 URLs that were new.
insert into domain_pages as p (domain_id, crawl_id, announced) values ($1, $2, $3)
on conflict (domain_id, crawl_id) do update set announced = p.announced + excluded.announced;

-- name: promises_open
-- Of these visits ($4 when), those that are newer than what is kept: the others were written down before, and counted.
select x.domain_id, x.crawl_id, x.url_hash from unnest($1::bigint[], $2::int[], $3::bytea[], $4::timestamptz[]) x(domain_id, crawl_id, url_hash, at)
left join pages p on p.domain_id = x.domain_id and p.crawl_id = x.crawl_id and p.url_hash = x.url_hash
where p.fetched_at is null or p.fetched_at < x.at;

-- name: announced_known
-- What is known of URLs that a sitemap of crawl $1 names. $2 domains, $3 hashes.
select u.domain_id, u.url_hash, u.due_at, u.open, u.outcome, u.lastmod, extract(epoch from u.changefreq)::float8 as changefreq,
  extract(epoch from u.revisit)::float8 as revisit, p.fetched_at, coalesce(d.promised, 0) as promised, coalesce(d.kept, 0) as kept, now() as now
from unnest($2::bigint[], $3::bytea[]) x(domain_id, url_hash)
join urls u on u.domain_id = x.domain_id and u.crawl_id = $1 and u.url_hash = x.url_hash
left join pages p on p.domain_id = u.domain_id and p.crawl_id = $1 and p.url_hash = u.url_hash
left join domain_pages d on d.domain_id = u.domain_id and d.crawl_id = $1;

-- name: announce_again
-- Step 3. What a sitemap of crawl $1 says of URLs that are known. $2 domains, $3 hashes, $4 due_at as it was read, $5 when they are due instead
-- (null: as before), $6 lastmod, $7 seconds between changes. Returned is what is due sooner.
with named as (
  select u.domain_id, u.crawl_id, u.url_hash, u.due_at as was, x.due_at, x.lastmod, x.changefreq,
    u.due_at is not distinct from x.was and x.due_at is not null as moves
  from unnest($2::bigint[], $3::bytea[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::float8[])
    x(domain_id, url_hash, was, due_at, lastmod, changefreq)
  join urls u on u.domain_id = x.domain_id and u.crawl_id = $1 and u.url_hash = x.url_hash
  order by 1, 2, 3 for no key update of u),
said as (
  update urls u set lastmod = greatest(u.lastmod, n.lastmod), changefreq = coalesce(make_interval(secs => n.changefreq), u.changefreq),
    due_at = case when n.moves then n.due_at else u.due_at end
  from named n where u.domain_id = n.domain_id and u.crawl_id = n.crawl_id and u.url_hash = n.url_hash
  returning u.domain_id, u.due_at, n.moves)
select s.domain_id, d.name, min(s.due_at) as due_at from said s join domains d using (domain_id) where s.moves group by 1, 2;

-- === what pages said before (crawl show, crawl diff), and which domains were visited too long ago (crawl status --stale)

-- name: page_versions
-- $1 domain, $2 crawl, $3 URL: what is known of what the page said before, the newest first.
select fetched_at, status, content_type, charset, title, language, length, digest, text_digest from versions
where domain_id = $1 and crawl_id = $2 and url_hash = $3 order by fetched_at desc;

-- name: show_version
-- $1 domain, $2 crawl, $3 URL, $4 how many versions before the page as it is: as show_page, with what is kept of a version.
select c.name as crawl, c.crawl_id, u.url, u.depth, v.fetched_at, null::timestamptz as first_at, null::timestamptz as changed_at, 'ok' as outcome,
  '' as detail, v.status, null::inet as address, null::text as protocol, '[]' as request_headers, v.headers, '{}'::text[] as directives,
  v.content_type, v.charset, v.title, v.language, null::text as redirect_to, null::text as etag, null::text as last_modified, v.length,
  v.digest, v.text_digest, null::jsonb as fields, b.data, b.size
from versions v join urls u using (domain_id, crawl_id, url_hash) join crawls c using (crawl_id) left join bodies b on b.digest = v.digest
where v.domain_id = $1 and v.crawl_id = $2 and v.url_hash = $3 order by v.fetched_at desc offset $4 - 1 limit 1;

-- name: sitemap_known
-- $1 domain, $2 crawl, $3 URL: what was read of a sitemap.
select fetched_at, changed_at, form, urls, taken, detail from sitemaps where domain_id = $1 and crawl_id = $2 and url_hash = $3;

-- name: retiming
-- Are the next visits of crawl $1 just being set anew?
select retime is not null from crawls where crawl_id = $1;

-- name: stale_domains
-- $1 crawl (null: any), $2 before: the domains with URLs of it that were last visited before then, or never, though something was due
-- since then; the oldest first. There is no index for it: a million rows are read and sorted in half a second, and an index would be
-- written at each release. Each is then looked for in urls, as many as are asked for: OFFSET 0 keeps that from being done for all, and
-- what is sorted narrow.
select d.domain_id, d.name, d.visited_at, d.due_at, d.ready_at, d.blocked, d.holder, d.waits_for, s.since
from (
  select domain_id, visited_at is null as never, coalesce(visited_at, due_at) as since
  from domains where visited_at < $2 or (visited_at is null and due_at < $2)
  order by coalesce(visited_at, due_at), domain_id offset 0) s
cross join lateral (
  select from urls u where u.domain_id = s.domain_id and ($1::int is null or u.crawl_id = $1)
    and (not s.never or (u.due_at < $2 and u.found_at < $2)) limit 1) k
cross join lateral (select * from domains d where d.domain_id = s.domain_id offset 0) d
order by s.since, s.domain_id limit $3;

-- name: stale_domains_of
-- As stale_domains, for a crawl of few URLs: all of them are read, by the index of those that are open and of those that are not, for
-- among a million domains its own would be sought for long.
with known as materialized (
  select domain_id from urls where crawl_id = $1 and open union select domain_id from urls where crawl_id = $1 and not open)
select d.domain_id, d.name, d.visited_at, d.due_at, d.ready_at, d.blocked, d.holder, d.waits_for, coalesce(d.visited_at, d.due_at) as since
from known join domains d using (domain_id)
where d.visited_at < $2 or (d.visited_at is null and d.due_at < $2 and exists (
  select from urls u where u.domain_id = d.domain_id and u.crawl_id = $1 and u.due_at < $2 and u.found_at < $2))
order by coalesce(d.visited_at, d.due_at), d.domain_id limit $3;

-- name: stale_urls
-- $1 domains, $2 crawl (null: any): what each crawl has of them: how many URLs are due, counted to 1,001 (also those of a crawl that does
-- not run), and when the first one is.
select x.domain_id, c.name as crawl, c.state, c.attendant, c.refresh, n.due, f.due_at as first_due_at
from unnest($1::bigint[]) x(domain_id) cross join crawls c
cross join lateral (select from urls u where u.domain_id = x.domain_id and u.crawl_id = c.crawl_id limit 1) k
cross join lateral (
  select count(*) as due from (
    select from urls u where u.domain_id = x.domain_id and u.crawl_id = c.crawl_id and u.due_at <= now() limit 1001) y) n
left join lateral (
  select u.due_at from urls u where u.domain_id = x.domain_id and u.crawl_id = c.crawl_id and u.due_at is not null
  order by u.due_at limit 1) f on true
where ($2::int is null or c.crawl_id = $2) and not c.deleting order by x.domain_id, c.crawl_id;

-- name: refresh_known
-- `crawl refresh URL`: every crawl that knows these URLs, and what may speak against asking for them. $1 domains, $2 hashes.
select u.domain_id, u.url_hash, u.url, u.crawl_id, u.outcome, u.detail, d.name as domain, d.blocked, c.name as crawl, c.state, c.attendant,
  u.open and p.first_at is null and coalesce(c.pages >= c.max_pages or k.pages >= c.max_pages_per_domain or k.room < 1, false) as over
from (select distinct * from unnest($1::bigint[], $2::bytea[]) x(domain_id, url_hash)) x
cross join crawls c join urls u on u.domain_id = x.domain_id and u.crawl_id = c.crawl_id and u.url_hash = x.url_hash
join domains d on d.domain_id = x.domain_id
left join pages p on p.domain_id = x.domain_id and p.crawl_id = c.crawl_id and p.url_hash = x.url_hash
left join domain_pages k on k.domain_id = x.domain_id and k.crawl_id = c.crawl_id
where not c.deleting order by c.crawl_id;

-- name: refresh_wish
-- Step 3, under crawl_hold. $1 crawl, $2 domains, $3 hashes: due in the first weeks of 1970, which makes each the first of its domain,
-- at a time of its own (a microsecond for each millisecond since the epoch, and later than the wish before): so no settle of a visit that
-- began before this wish compares equal with it, be that visit made for another wish. Locked in key order first.
with wanted as (
  select u.domain_id, u.crawl_id, u.url_hash, d.name, u.due_at as before
  from unnest($2::bigint[], $3::bytea[]) x(domain_id, url_hash)
  join urls u on u.domain_id = x.domain_id and u.crawl_id = $1 and u.url_hash = x.url_hash join domains d on d.domain_id = x.domain_id
  order by 1, 2, 3 for no key update of u)
update urls u set attempts = 0, due_at = greatest(
    timestamptz 'epoch' + make_interval(secs => extract(epoch from clock_timestamp()) / 1000.0),
    case when w.before < '1971-01-01' then w.before + interval '1 microsecond' end)
from wanted w
where u.domain_id = w.domain_id and u.crawl_id = w.crawl_id and u.url_hash = w.url_hash
returning u.domain_id, u.url_hash, w.name, u.due_at;

-- name: refresh_run
-- Step 4, under crawl_hold. A finished crawl that belongs to whoever works runs again; one that belongs to a run is as if that had just
-- left it: running it again goes on with what is wished, and nobody goes on with the rest of it. Why it was finished is remembered.
update crawls set state = case when attendant is null then 'running' else 'paused' end, attendant = case when attendant is not null then 'left' end,
  finished_at = case when attendant is not null then finished_at end, finished_why = case when attendant is not null then finished_why end,
  version = version + 1
where crawl_id = $1 and state = 'finished' returning crawl_id;

-- name: refresh_done
-- What was wished of these crawls is done: those that refresh_run found finished, and that found nothing new, are so again. Whoever still
-- waits for a URL of theirs gets it all the same.
update crawls c set state = 'finished', version = version + 1
where crawl_id = any($1::int[]) and state = 'paused' and attendant = 'left' and finished_why is not null
  and (finished_why <> 'done' or not exists (select from urls u where u.crawl_id = c.crawl_id and u.open)) returning crawl_id;

-- name: refresh_seen
-- What is kept of these URLs. $1 domains, $2 crawls, $3 hashes.
select u.domain_id, u.crawl_id, u.url_hash, u.due_at, u.outcome, u.detail, u.kind, coalesce(p.digest, s.digest) as digest, p.text_digest, p.title,
  p.redirect_to, coalesce(nullif(p.changed_at, p.first_at), s.changed_at) as changed_at, coalesce(p.fetched_at, s.fetched_at) as fetched_at,
  f.at, f.status, f.bytes, f.ms, greatest(u.due_at, d.ready_at) as next_at, now() as now
from unnest($1::bigint[], $2::int[], $3::bytea[]) x(domain_id, crawl_id, url_hash)
join urls u on u.domain_id = x.domain_id and u.crawl_id = x.crawl_id and u.url_hash = x.url_hash
join domains d on d.domain_id = x.domain_id
left join pages p on p.domain_id = x.domain_id and p.crawl_id = x.crawl_id and p.url_hash = x.url_hash
left join sitemaps s on s.domain_id = x.domain_id and s.crawl_id = x.crawl_id and s.url_hash = x.url_hash
left join lateral (
  select at, status, bytes, ms from fetches f where f.domain_id = x.domain_id and f.url_hash = x.url_hash and f.crawl_id = x.crawl_id
  order by at desc limit 1) f on true;

-- name: refresh_left
-- Those of these URLs that are still waited for. $1 domains, $2 crawls, $3 hashes.
select x.domain_id, x.crawl_id, x.url_hash from unnest($1::bigint[], $2::int[], $3::bytea[]) x(domain_id, crawl_id, url_hash)
join urls u on u.domain_id = x.domain_id and u.crawl_id = x.crawl_id and u.url_hash = x.url_hash and u.due_at < '1971-01-01';

-- name: refresh_domains
-- $1 domains: who may visit each, and when.
select domain_id, name as domain, turn, holder, dispatcher, blocked, waits_for, lost, extract(epoch from greatest(delay, delay_by_hand))::float8 as delay,
  extract(epoch from greatest(ready_at, 'epoch') - clock_timestamp())::float8 as ready_in
from domains where domain_id = any($1::bigint[]);

-- name: urgent
-- Take a domain for an urgent turn: $1 domain, $2 lease. Rested, or queued and not accepted (the queued copy dies; a queued domain has had
-- its pause), but for another urgent turn: two who wait would take it from each other for ever. The lease is short: whoever takes it
-- publishes at once, and should it die in between, the domain is dispatched when that has passed.
-- Resting or held: no row; wait, or tell the holder. One that was lost too often is left to dispatch, which buries it.
update domains set turn = turn + 1, ready_at = clock_timestamp() + $2::interval, holder = 'queue', dispatcher = 'urgent',
  lost = greatest(lost, coalesce(holder <> 'queue', false)::int)
where domain_id = $1 and blocked is null and lost <= 5
  and (ready_at <= clock_timestamp() or (holder = 'queue' and dispatcher is distinct from 'urgent'))
returning turn, lost, name, host(address) as address;

-- name: urgent_urls
-- What somebody waits for. $1 domains, $2 most of each: also of crawls that are finished or left by their run. A page that was never stored
-- counts against the budgets as any other.
select d.domain_id, u.crawl_id, u.url_hash, u.url, u.due_at, u.depth, u.hops, u.attempts, u.seed, u.outcome, u.kind
from unnest($1::bigint[]) d(domain_id) cross join lateral (
  select u.* from crawls c join urls u on u.domain_id = d.domain_id and u.crawl_id = c.crawl_id and u.due_at < '1971-01-01'
  left join domain_pages k on k.domain_id = d.domain_id and k.crawl_id = c.crawl_id
  where (c.state in ('running', 'finished') or (c.state = 'paused' and c.attendant = 'left')) and not c.deleting
    and not (u.open and coalesce(c.pages >= c.max_pages or k.pages >= c.max_pages_per_domain or k.room < 1, false)
             and not exists (select from pages p where p.domain_id = d.domain_id and p.crawl_id = c.crawl_id and p.url_hash = u.url_hash
                             and p.first_at is not null))
  order by u.due_at limit $2) u;

-- name: urgent_wished
-- Of these domains, those of which something may be waited for: looked at whenever a holder is told of a change. $1 domains.
-- Asked of the URLs, for the domain knows only of those of running crawls.
select d.domain_id from unnest($1::bigint[]) d(domain_id) where exists (
  select from crawls c join urls u on u.domain_id = d.domain_id and u.crawl_id = c.crawl_id and u.due_at < '1971-01-01'
  where (c.state in ('running', 'finished') or (c.state = 'paused' and c.attendant = 'left')) and not c.deleting);

-- name: workers_of
-- How many domains those at work can visit at once: who take their turns from queue $1, and all.
select coalesce(sum(slots) filter (where queue = $1), 0)::int as ours, coalesce(sum(slots), 0)::int as all
from workers where seen_at > now() - interval '1 minute';
