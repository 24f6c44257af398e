-- Freshness: when to look again, what sitemaps announce, what a page said before, and what the clock has done.

alter table crawls
  add column sitemaps      boolean not null default true,         -- whether sitemaps and feeds are read
  add column keep_versions smallint not null default 0,           -- how many earlier bodies of a page are kept
  add column retime        bigint,                                -- the URLs' next visits are being set anew: done for domains up to this id
  add column retime_hash   bytea not null default '',             -- and of the next domain for URLs up to this hash
  add column retime_at     timestamptz,                           -- when that began: what is due at that moment was not visited since
  add column retime_now    boolean not null default false;        -- they are all due now, whatever the rule says (`crawl refresh --all`)

alter table urls
  add column kind       text not null default 'page',             -- or 'sitemap': a sitemap, an index of them, or a feed; its depth is its level
  add column period     interval,                                 -- estimated time between its changes: what `adaptive` learns
  add column lastmod    timestamptz,                              -- when it changed last, as a sitemap says
  add column changefreq interval;                                 -- how often it changes, as a sitemap says

-- What a site's sitemaps have promised, and how often that was true: whoever cries wolf is believed less.
alter table origins
  add column sitemaps_at timestamptz not null default now();      -- when its robots.txt last named other sitemaps than before

alter table domain_pages
  add column announced int not null default 0,                    -- URLs that its sitemaps have put on the frontier
  add column promised int not null default 0,                     -- visits that were made because a sitemap said that the page had changed
  add column kept     int not null default 0;                     -- those that found it changed

-- What is kept of the last visit to a sitemap; it is no page, and counts against no limit of pages.
create table sitemaps (
  domain_id     bigint not null,
  crawl_id      int not null,
  url_hash      bytea not null,
  fetched_at    timestamptz not null,
  changed_at    timestamptz not null,
  etag          text,
  last_modified text,
  digest        bytea not null,                                   -- SHA-256 of its bytes
  form          text not null,                                    -- urlset, index, rss, atom, text
  urls          int not null,                                     -- that it names
  taken         int not null,                                     -- of these, those that it may name and that are in scope
  detail        text not null default '',                         -- why not all of it could be read
  constraint "a sitemap is the last visit to its URL" primary key (domain_id, crawl_id, url_hash)
) partition by hash (domain_id);

-- What a page said before it changed, for crawls that keep versions. The newest is the page itself.
create table versions (
  domain_id     bigint not null,
  crawl_id      int not null,
  url_hash      bytea not null,
  fetched_at    timestamptz not null,                             -- when it was last seen like this
  status        smallint,
  headers       jsonb not null default '[]',
  content_type  text,
  charset       text,
  title         text,
  language      text,
  length        int,
  digest        bytea not null,                                   -- a row of bodies
  text_digest   bytea,
  constraint "a version of a page stands once" primary key (domain_id, crawl_id, url_hash, fetched_at)
) partition by hash (domain_id);
create index versions_digest on versions (digest);                -- who else names this body?

do $$
begin
  for part in 0..7 loop
    execute format('create table sitemaps_%s partition of sitemaps for values with (modulus 8, remainder %s)', part, part);
    execute format('create table versions_%s partition of versions for values with (modulus 8, remainder %s)', part, part);
  end loop;
end $$;

-- The timetable's memory: what ran when, and what came of it.
create table jobs (
  name     text not null,
  last_at  timestamptz,                                           -- when it last began
  ms       int,                                                   -- how long that took
  result   text,                                                  -- done or failed
  detail   text not null default '',                              -- what it did, or why it failed
  next_at  timestamptz not null,
  ran_by   text,                                                  -- the scheduler, as in workers
  constraint "a job has one row" primary key (name)
);

-- Attempts by hour, for as long as the crawl exists: the rows of fetches are dropped after a while.
create table fetch_hours (
  hour     timestamptz not null,
  crawl_id int not null,
  outcome  text not null,
  fetches  bigint not null,
  bytes    bigint not null,
  ms       bigint not null,                                       -- of all of them together
  constraint "an hour of a crawl is counted once by outcome" primary key (crawl_id, hour, outcome),
  constraint "an hour belongs to a crawl" foreign key (crawl_id) references crawls on delete cascade
);
