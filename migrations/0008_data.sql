-- Data: what pages link to, what hooks say of them, which are nearly the same, and their words.

alter table crawls
  add column keep_links boolean not null default false,           -- whether what its pages link to is kept
  add column search     boolean not null default false;           -- whether upkeep reads its pages for `crawl search`

alter table pages
  add column fields  jsonb,                                       -- what hooks said of it; null: nothing
  add column simhash bigint;                                      -- of its visible text (crawler.core.simhash); null: too little of it
create index pages_simhash on pages (domain_id, crawl_id, (simhash >> 48)) where simhash is not null;  -- has another said nearly this?

alter table domain_pages
  add column searched_at timestamptz,                             -- domains.visited_at when its pages were read for `crawl search`
  add column searched_hash bytea not null default '';             -- the page at which that was cut off, with a microsecond less above

-- In which transaction an attempt was written down: what was committed since is told by it, and by no time. The default is given apart, so
-- that old rows stay as they are, without one.
alter table fetches add column tx bigint;
alter table fetches alter column tx set default pg_current_xact_id()::text::bigint;
create index fetches_tx on fetches using brin (tx) with (autosummarize = on);

-- What a page links to, for crawls that keep links: all that it names, in scope or not, but what it marks nofollow.
create table links (
  domain_id  bigint not null,
  crawl_id   int not null,
  url_hash   bytea not null,
  fetched_at timestamptz not null,                                -- the visit that found them
  n          int not null,                                        -- how many
  targets    bytea not null,                                      -- canonical URLs in document order, each with a line break after it; zstd
  constraint "the links of a page stand once" primary key (domain_id, crawl_id, url_hash)
) partition by hash (domain_id);
create table links_0 partition of links for values with (modulus 8, remainder 0);
create table links_1 partition of links for values with (modulus 8, remainder 1);
create table links_2 partition of links for values with (modulus 8, remainder 2);
create table links_3 partition of links for values with (modulus 8, remainder 3);
create table links_4 partition of links for values with (modulus 8, remainder 4);
create table links_5 partition of links for values with (modulus 8, remainder 5);
create table links_6 partition of links for values with (modulus 8, remainder 6);
create table links_7 partition of links for values with (modulus 8, remainder 7);

-- The words of a page, for crawls that are searched: made from its body by upkeep, never while it is fetched.
create table page_words (
  domain_id  bigint not null,
  crawl_id   int not null,
  url_hash   bytea not null,
  read_digest bytea not null,                                     -- the body they were read from, as in pages
  dictionary regconfig not null,                                  -- by the page's language
  words      tsvector not null,                                   -- of its title (weight A) and its visible text (weight D)
  constraint "the words of a page stand once" primary key (domain_id, crawl_id, url_hash)
) partition by hash (domain_id);
create table page_words_0 partition of page_words for values with (modulus 8, remainder 0);
create table page_words_1 partition of page_words for values with (modulus 8, remainder 1);
create table page_words_2 partition of page_words for values with (modulus 8, remainder 2);
create table page_words_3 partition of page_words for values with (modulus 8, remainder 3);
create table page_words_4 partition of page_words for values with (modulus 8, remainder 4);
create table page_words_5 partition of page_words for values with (modulus 8, remainder 5);
create table page_words_6 partition of page_words for values with (modulus 8, remainder 6);
create table page_words_7 partition of page_words for values with (modulus 8, remainder 7);
create index page_words_words on page_words using gin (words);
