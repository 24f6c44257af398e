-- What is the same, or nearly: for `crawl duplicates`.

-- name: duplicates_hashes
-- $1 crawl, $2 domain (null: all). Every SimHash once, ascending, with its pages; 5,000 to a row, for there may be millions. Sorted by the
-- server, which has a disk for that.
select array_agg(simhash order by simhash) as hashes, array_agg(n order by simhash) as pages
from (select simhash, count(*)::int as n, (row_number() over (order by simhash) - 1) / 5000 as portion
      from pages where crawl_id = $1 and ($2::bigint is null or domain_id = $2) and simhash is not null and digest is not null
      group by simhash) x
group by portion order by portion;

-- name: duplicates_bodies
-- $1 crawl, $2 domain (null: all), $3 how many: the bodies that most pages have.
select digest as what, count(*)::int as n from pages
where crawl_id = $1 and ($2::bigint is null or domain_id = $2) and digest is not null
group by 1 having count(*) > 1 order by n desc, 1 limit $3;

-- name: duplicates_texts
-- As duplicates_bodies, of texts; $4 only of those that are too short to have a SimHash.
select text_digest as what, count(*)::int as n from pages
where crawl_id = $1 and ($2::bigint is null or domain_id = $2) and digest is not null and text_digest is not null
  and (not $4 or simhash is null)
group by 1 having count(*) > 1 order by n desc, 1 limit $3;

-- name: duplicates_members
-- The pages of the groups that are shown, one group after another. $1 crawl, $2 domain (null: all); $3 to $6, side by side: by which SimHash,
-- text or body (one of them) a page belongs to which group. Three joins, for one with an "or" would compare each page with each.
with shown as (select * from unnest($3::bigint[], $4::bytea[], $5::bytea[], $6::int[]) as x(simhash, text_digest, digest, place)),
members as (
  select g.place, p.domain_id, p.crawl_id, p.url_hash, p.title, p.length, p.simhash, p.digest, p.text_digest
  from shown g join pages p on p.simhash = g.simhash where p.crawl_id = $1 and ($2::bigint is null or p.domain_id = $2) and p.digest is not null
  union all
  select g.place, p.domain_id, p.crawl_id, p.url_hash, p.title, p.length, p.simhash, p.digest, p.text_digest
  from shown g join pages p on p.text_digest = g.text_digest where p.crawl_id = $1 and ($2::bigint is null or p.domain_id = $2) and p.digest is not null
  union all
  select g.place, p.domain_id, p.crawl_id, p.url_hash, p.title, p.length, p.simhash, p.digest, p.text_digest
  from shown g join pages p on p.digest = g.digest where p.crawl_id = $1 and ($2::bigint is null or p.domain_id = $2))
select m.place, u.url, m.title, m.length, m.simhash, m.digest, m.text_digest
from members m join urls u on u.domain_id = m.domain_id and u.crawl_id = m.crawl_id and u.url_hash = m.url_hash
order by m.place, u.url collate "C";
