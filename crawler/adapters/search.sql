-- What was crawled, by its words: read by upkeep (crawler.wording), asked by `crawl search`.

-- name: search_crawls
select crawl_id from crawls where search and not deleting order by 1;

-- name: search_dictionaries
select cfgname::text as name from pg_ts_config where cfgnamespace = 'pg_catalog'::regnamespace;

-- name: search_domains
-- $1 crawl, $2 after which domain, $3 how many: those that were visited since their words were read.
select p.domain_id, coalesce(d.visited_at, '-infinity') as visited_at from domain_pages p join domains d using (domain_id)
where p.crawl_id = $1 and p.domain_id > $2 and (p.searched_at is null or p.searched_at < d.visited_at)
order by 1 limit $3;

-- name: search_begin
-- A domain of which there may be words has a time, however old: by it they are found when they are wanted no more. $1 domain, $2 crawl.
update domain_pages set searched_at = '-infinity' where domain_id = $1 and crawl_id = $2 and searched_at is null;

-- name: search_stale
-- $1 domain, $2 crawl, $3 after which page, $4 how many: pages whose words were not read from the body that they have now.
select p.url_hash, p.digest, p.title, p.language, p.content_type, p.charset, b.data
from pages p left join page_words w on w.domain_id = p.domain_id and w.crawl_id = p.crawl_id and w.url_hash = p.url_hash
left join bodies b on b.digest = p.digest
where p.domain_id = $1 and p.crawl_id = $2 and p.url_hash > $3 and p.digest is not null and w.read_digest is distinct from p.digest
order by p.url_hash limit $4;

-- name: search_write
-- $1 domain, $2 crawl, then columns. Only for a page that is there, with that body, and its row is held until the words are written: whoever
-- erases takes the pages first and the words after, so nothing of a page is left behind.
insert into page_words as w (domain_id, crawl_id, url_hash, read_digest, dictionary, words)
select p.domain_id, p.crawl_id, p.url_hash, p.digest, x.dictionary::regconfig,
  setweight(to_tsvector(x.dictionary::regconfig, x.title), 'A') || setweight(to_tsvector(x.dictionary::regconfig, x.said), 'D')
from unnest($3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[]) as x(url_hash, digest, dictionary, title, said)
join pages p on p.domain_id = $1 and p.crawl_id = $2 and p.url_hash = x.url_hash and p.digest = x.digest
order by p.url_hash for key share of p
on conflict (domain_id, crawl_id, url_hash) do update
  set read_digest = excluded.read_digest, dictionary = excluded.dictionary, words = excluded.words;

-- name: search_gone
-- $1 domain, $2 crawl, $3 how many: the words of pages that are no more, or have no body any more.
with doomed as (
  select w.domain_id, w.crawl_id, w.url_hash from page_words w
  left join pages p on p.domain_id = w.domain_id and p.crawl_id = w.crawl_id and p.url_hash = w.url_hash
  where w.domain_id = $1 and w.crawl_id = $2 and p.digest is null order by 1, 2, 3 limit $3)
delete from page_words w using doomed x where w.domain_id = x.domain_id and w.crawl_id = x.crawl_id and w.url_hash = x.url_hash
returning 1;

-- name: search_done
-- $3: domains.visited_at as it was before its pages were read. Who records a page moves it later when the domain is released.
update domain_pages set searched_at = $3 where domain_id = $1 and crawl_id = $2;

-- name: search_unwanted
-- Domains of which there may be words that are wanted no more. $1 how many. Where nothing is searched that is one look.
select p.domain_id, p.crawl_id from crawls c join domain_pages p using (crawl_id)
where exists (select from page_words) and not c.search and p.searched_at is not null order by 2, 1 limit $1;

-- name: search_forget
-- $1 domain, $2 crawl, $3 how many.
with doomed as (
  select domain_id, crawl_id, url_hash from page_words where domain_id = $1 and crawl_id = $2 order by 1, 2, 3 limit $3)
delete from page_words w using doomed x where w.domain_id = x.domain_id and w.crawl_id = x.crawl_id and w.url_hash = x.url_hash
returning 1;

-- name: search_unread
-- $1 crawl, $2 at most: pages whose words are not read yet.
select count(*)::int from (
  select from domain_pages k join domains d using (domain_id)
  join pages p on p.domain_id = k.domain_id and p.crawl_id = k.crawl_id
  left join page_words w on w.domain_id = p.domain_id and w.crawl_id = p.crawl_id and w.url_hash = p.url_hash
  where k.crawl_id = $1 and (k.searched_at is null or k.searched_at < d.visited_at)
    and p.digest is not null and w.read_digest is distinct from p.digest limit $2) x;

-- name: search_words
-- What was asked ($1), as each of the dictionaries ($2) reads it, joined by "or": what the index is asked. Null: no word in it counts.
select string_agg('( ' || q || ' )', ' | ') from (
  select distinct websearch_to_tsquery(d::regconfig, $1)::text as q from unnest($2::text[]) d) x where q <> '';

-- name: search_pages
-- $1 what the index is asked, $2 what was asked, $3 crawl, $4 domain (null: all), $5 pages that are ranked, $6 pages that are shown. The index
-- knows no dictionaries, so each page is asked again by its own.
with found as materialized (
  select w.domain_id, w.crawl_id, w.url_hash, w.dictionary, w.words from page_words w
  where w.words @@ $1::text::tsquery and w.crawl_id = $3 and ($4::bigint is null or w.domain_id = $4)
    and w.words @@ websearch_to_tsquery(w.dictionary, $2) limit $5),
ranked as (
  select domain_id, crawl_id, url_hash, dictionary, count(*) over () as matches,
    ts_rank_cd(words, websearch_to_tsquery(dictionary, $2), 33) as rank
  from found order by rank desc, domain_id, url_hash limit $6)
select r.matches, r.rank, r.dictionary::text as dictionary, u.url, p.title, p.language, p.content_type, p.charset, b.data
from ranked r join urls u on u.domain_id = r.domain_id and u.crawl_id = r.crawl_id and u.url_hash = r.url_hash
join pages p on p.domain_id = r.domain_id and p.crawl_id = r.crawl_id and p.url_hash = r.url_hash
left join bodies b on b.digest = p.digest order by r.rank desc, u.url;

-- name: search_headlines
-- $1 dictionaries, $2 texts, side by side; $3 what was asked, $4 how it is to look.
select ts_headline(x.dictionary::regconfig, x.said, websearch_to_tsquery(x.dictionary::regconfig, $3), $4) as headline
from unnest($1::text[], $2::text[]) with ordinality as x(dictionary, said, n) order by x.n;

-- name: search_kept
-- Whether somebody does upkeep: who works here, runs included, or schedules.
select exists (select from workers where seen_at > now() - interval '1 minute');
