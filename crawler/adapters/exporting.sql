-- What leaves the database: pages in a stable order, pages as they are stored, and links.
--
-- When a page became what it is (crawler/selection.py): one that is ok at changed_at, any other one at fetched_at. The attempt that made it
-- so has a row in fetches with that very moment, and the number of the transaction that wrote both.

-- name: export
-- $1 crawl, $2 domain, $3 after this URL (null: from the first); a selection: $4 outcomes, $5 patterns of media types, $6 since, $7 until;
-- $8 null, or only what was written by transactions before this one. Stable order: by domain name (export_domains), then by URL. What was
-- only imported (importing.sql) has nothing to export.
select u.url, u.depth, p.*, b.data
from urls u join pages p on p.domain_id = u.domain_id and p.crawl_id = u.crawl_id and p.url_hash = u.url_hash
left join bodies b on b.digest = p.digest
where u.domain_id = $2 and u.crawl_id = $1 and ($3::text is null or u.url collate "C" > $3) and p.detail <> 'imported'
  and ($4::text[] is null or p.outcome = any($4)) and ($5::text[] is null or p.content_type like any($5))
  and ($6::timestamptz is null or case p.outcome when 'ok' then coalesce(p.changed_at, p.fetched_at) else p.fetched_at end >= $6)
  and ($7::timestamptz is null or case p.outcome when 'ok' then coalesce(p.changed_at, p.fetched_at) else p.fetched_at end < $7)
  and ($8::bigint is null or not exists (
    select from fetches f where f.domain_id = p.domain_id and f.url_hash = p.url_hash and f.crawl_id = p.crawl_id and f.tx >= $8
      and f.at = case p.outcome when 'ok' then coalesce(p.changed_at, p.fetched_at) else p.fetched_at end))
order by u.url collate "C";

-- name: export_domains
-- $1 crawl, $2 from this name on (null: from the first), $3 these (null: all). By the bytes of the name, so that the order does not hang on
-- the database's collation.
select d.domain_id from domains d
where ($2::text is null or d.name collate "C" >= $2) and ($3::bigint[] is null or d.domain_id = any($3))
  and exists (select from pages p where p.domain_id = d.domain_id and p.crawl_id = $1) order by d.name collate "C";

-- name: follow_bound
-- The oldest transaction that may still write: all before it have ended, and what they wrote is there for whoever asks from now on.
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: follow_home
-- Which database this is, for a place is of no other: the cluster, how often it began again from an earlier moment, and which of its
-- databases. A cursor means nothing anywhere else.
select array[s.system_identifier::text, c.timeline_id::text, d.oid::text]
from pg_control_system() s, pg_control_checkpoint() c, pg_database d where d.datname = current_database();

-- name: follow_strange
-- Whether there are attempts of transactions that have not begun here: they came with a dump of another cluster, whose numbers are higher.
select exists (select from fetches where tx >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint);

-- name: follow_mend
-- Those are from before all that will be written: without a number no cursor finds them, and no export leaves their pages to one. A
-- transaction that writes right now is not touched, for who sees what it wrote sees its number as past.
update fetches set tx = null where tx >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- name: follow_attempts
-- $1 crawl, $2 to $3 transactions (without the last), $4 how many rows. By the BRIN index on tx: numbers grow as rows are appended. With
-- the bytes of the page as it is now, by which a follower asks for no more of them than fit.
select f.*, coalesce((select p.length from pages p where p.domain_id = f.domain_id and p.crawl_id = $1 and p.url_hash = f.url_hash), 0) as length
from (select f.tx, f.domain_id, f.url_hash, f.at from fetches f
  where f.crawl_id = $1 and f.tx >= $2 and f.tx < $3 and f.outcome <> 'not_modified' order by f.tx limit $4) f
order by f.tx;

-- name: follow
-- $1 crawl; attempts: $2 domains, $3 hashes, $4 moments; a selection: $5 domains, then as $4 to $7 of export. The pages that are still what
-- these attempts made them: one that became another since then has a later attempt, and comes with that.
select u.url, u.depth, p.*, b.data
from unnest($2::bigint[], $3::bytea[], $4::timestamptz[]) with ordinality as x(domain_id, url_hash, at, n)
join pages p on p.domain_id = x.domain_id and p.crawl_id = $1 and p.url_hash = x.url_hash
join urls u on u.domain_id = x.domain_id and u.crawl_id = $1 and u.url_hash = x.url_hash
left join bodies b on b.digest = p.digest
where x.at = case p.outcome when 'ok' then coalesce(p.changed_at, p.fetched_at) else p.fetched_at end
  and ($5::bigint[] is null or p.domain_id = any($5))
  and ($6::text[] is null or p.outcome = any($6)) and ($7::text[] is null or p.content_type like any($7))
  and ($8::timestamptz is null or x.at >= $8) and ($9::timestamptz is null or x.at < $9)
order by x.n;

-- name: follow_end
-- The first transaction that has not begun: a follower that is behind it has had all that was committed by now.
select pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- name: export_links
-- What the pages of a domain link to. $1 crawl, $2 domain, $3 after this URL (null: from the first). Ordered as export.
select u.url, l.n, l.targets from urls u join links l on l.domain_id = u.domain_id and l.crawl_id = u.crawl_id and l.url_hash = u.url_hash
where u.domain_id = $2 and u.crawl_id = $1 and ($3::text is null or u.url collate "C" > $3) order by u.url collate "C";
