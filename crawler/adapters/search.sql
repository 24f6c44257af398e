-- What was crawled, by its words: read by upkeep (crawler.wording), asked by `crawl search`.

-- name: search_dictionaries
select cfgname::text as name from pg_ts_config where cfgnamespace = 'pg_catalog'::regnamespace;

-- name: search_domains
-- $1 crawl (null: all that are searched), $2 how many: domains that were visited since their words were read, those that wait longest first.
-- as_of: the visit as of which the reading that begins now, or that was cut off at searched_hash, is one of all pages.
select p.domain_id, p.crawl_id, p.searched_hash,
  case when p.searched_hash = '' then coalesce(d.visited_at, 'epoch') else p.searched_at + interval '1 microsecond' end as as_of
from crawls c join domain_pages p using (crawl_id) join domains d using (domain_id)
where c.search and not c.deleting and ($1::int is null or c.crawl_id = $1) and (p.searched_at is null or p.searched_at < d.visited_at)
order by p.searched_at nulls first, p.crawl_id, p.domain_id limit $2;

-- name: search_begin
-- A reading begins. A domain of which there may be words has a time: by it they are found when they are wanted no more; and as long as it is
-- read, that is a microsecond before the visit that it is read as of ($3): so it stays due. $1 domain, $2 crawl.
update domain_pages set searched_at = $3::timestamptz - interval '1 microsecond' where domain_id = $1 and crawl_id = $2 and searched_hash = '';

-- name: search_place
-- $1 domain, $2 crawl, $3 as_of, $4 the page up to which all are read. Only of the reading that began so: another one has not seen these pages.
update domain_pages set searched_hash = $4
where domain_id = $1 and crawl_id = $2 and searched_at = $3::timestamptz - interval '1 microsecond';

-- name: search_done
-- $1 domain, $2 crawl, $3 as_of. Who records a page moves domains.visited_at later, when the domain is released.
update domain_pages set searched_at = $3, searched_hash = ''
where domain_id = $1 and crawl_id = $2 and searched_at = $3::timestamptz - interval '1 microsecond';

-- name: search_range
-- $1 domain, $2 crawl, $3 after which page, $4 how many are looked at: those whose words were not read from the body that they have now, and
-- the last one if there may be more (n = $4). No body any more and words: they are to go.
select url_hash, digest, read_digest, n from (
  select p.url_hash, p.digest, w.read_digest, row_number() over (order by p.url_hash) as n
  from pages p left join page_words w on w.domain_id = p.domain_id and w.crawl_id = p.crawl_id and w.url_hash = p.url_hash
  where p.domain_id = $1 and p.crawl_id = $2 and p.url_hash > $3 order by p.url_hash limit $4) x
where digest is distinct from read_digest or n = $4 order by url_hash;

-- name: search_bodies
-- $1 domain, $2 crawl, $3 pages: those that have a body, with it.
select p.url_hash, p.digest, p.title, p.language, p.content_type, p.charset, b.data
from pages p left join bodies b on b.digest = p.digest
where p.domain_id = $1 and p.crawl_id = $2 and p.url_hash = any($3::bytea[]) and p.digest is not null order by p.url_hash;

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
-- $1 domain, $2 crawl, $3 pages and $4 the bodies that their words were read from, side by side: the words of those that have no body any more.
delete from page_words w using unnest($3::bytea[], $4::bytea[]) as x(url_hash, read_digest)
where w.domain_id = $1 and w.crawl_id = $2 and w.url_hash = x.url_hash and w.read_digest = x.read_digest
  and not exists (select from pages p where p.domain_id = w.domain_id and p.crawl_id = w.crawl_id and p.url_hash = w.url_hash
    and p.digest is not null)
returning 1;

-- name: search_unwanted
-- Domains of which there may be words that are wanted no more. $1 how many. Where nothing is searched that is one look.
select p.domain_id, p.crawl_id from crawls c join domain_pages p using (crawl_id)
where exists (select from page_words) and not c.search and p.searched_at is not null limit $1;

-- name: search_forsake
-- Before words go: whenever they are wanted again, all of this domain is to be read. $1 domain, $2 crawl.
update domain_pages set searched_at = '-infinity', searched_hash = '' where domain_id = $1 and crawl_id = $2;

-- name: search_forget
-- $1 domain, $2 crawl, $3 how many.
with doomed as (
  select domain_id, crawl_id, url_hash from page_words where domain_id = $1 and crawl_id = $2 order by 1, 2, 3 limit $3)
delete from page_words w using doomed x where w.domain_id = x.domain_id and w.crawl_id = x.crawl_id and w.url_hash = x.url_hash
returning 1;

-- name: search_forgotten
-- $1 domain, $2 crawl: there are no words of it.
update domain_pages set searched_at = null where domain_id = $1 and crawl_id = $2 and searched_at = '-infinity';

-- name: search_unread
-- $1 crawl, $2 how many are looked at: pages whose words are not read yet, and how many were looked at.
select count(*) filter (where x.digest is not null and w.read_digest is distinct from x.digest)::int as unread, count(*)::int as looked
from (
  select p.domain_id, p.crawl_id, p.url_hash, p.digest from domain_pages k join domains d using (domain_id)
  join pages p on p.domain_id = k.domain_id and p.crawl_id = k.crawl_id
  where k.crawl_id = $1 and (k.searched_at is null or k.searched_at < d.visited_at)
    and p.url_hash > case when d.visited_at > k.searched_at + interval '1 microsecond' then '' else k.searched_hash end limit $2) x
left join page_words w on w.domain_id = x.domain_id and w.crawl_id = x.crawl_id and w.url_hash = x.url_hash;

-- name: search_words
-- What was asked ($1), as each of the dictionaries ($2) reads it, joined by "or": what the index is asked. Null: no word in it counts.
select string_agg('( ' || q || ' )', ' | ') from (
  select distinct websearch_to_tsquery(d::regconfig, $1)::text as q from unnest($2::text[]) d) x where q <> '';

-- name: search_pages
-- $1 what the index is asked, $2 what was asked, $3 crawl, $4 domain (null: all), $5 pages that are ranked, $6 pages that are shown. The index
-- knows neither dictionaries nor crawls, so each page is asked again by its own; nor does it know which pages are gone since.
with found as materialized (
  select w.domain_id, w.crawl_id, w.url_hash, w.dictionary, w.words from page_words w
  join pages p on p.domain_id = w.domain_id and p.crawl_id = w.crawl_id and p.url_hash = w.url_hash
  where w.words @@ $1::text::tsquery and w.crawl_id = $3 and ($4::bigint is null or w.domain_id = $4)
    and w.words @@ websearch_to_tsquery(w.dictionary, $2) and p.digest is not null limit $5),
ranked as (
  select domain_id, crawl_id, url_hash, dictionary, count(*) over () as matches,
    ts_rank_cd(words, websearch_to_tsquery(dictionary, $2), 33) as rank
  from found order by rank desc, domain_id, url_hash limit $6)
select r.matches, r.rank, r.domain_id, r.crawl_id, r.url_hash, r.dictionary::text as dictionary, u.url, p.title, p.language
from ranked r join urls u on u.domain_id = r.domain_id and u.crawl_id = r.crawl_id and u.url_hash = r.url_hash
join pages p on p.domain_id = r.domain_id and p.crawl_id = r.crawl_id and p.url_hash = r.url_hash
order by r.rank desc, u.url;

-- name: search_headline
-- $1 dictionary, $2 words of a text, $3 what was asked, $4 how it is to look.
select ts_headline($1::text::regconfig, $2, websearch_to_tsquery($1::text::regconfig, $3), $4);

-- name: search_kept
-- Whether somebody does upkeep: who works here, runs included, or schedules.
select exists (select from workers where seen_at > now() - interval '1 minute');
