-- What the commands that steer a crawl need: its further limits and headers, whose robots.txt is ignored, and how a crawl or a domain
-- is taken out without a trace.

alter table crawls
  add column max_bytes       bigint,                              -- over the wire; null: no limit
  add column types           text[] not null default '{}',        -- stored besides text, HTML, XML and JSON: image/*, ...
  add column headers         jsonb not null default '[]',         -- [[name, value], ...] sent with every page's request
  add column trusted_domains text[] not null default '{}',        -- where headers with secrets are sent: the seeds' domains
  add column owned_domains   text[] not null default '{}',        -- whose robots.txt is ignored: the operator's own
  add column deleting        boolean not null default false;      -- nothing is written for it any more

-- A fencing number must never come again, also when a domain's row is removed and made anew: it counts from the clock, of which no
-- domain can overtake a thousand a second.
alter table domains
  alter column turn set default (extract(epoch from clock_timestamp()) * 1000)::bigint,
  add column forgotten_at timestamptz;                            -- all of it was removed by request: nothing is written for it
create index domains_forgotten on domains (domain_id) where forgotten_at is not null;

-- Who else names this body? Asked for each body whose last page may be gone.
create index pages_digest on pages (digest) where digest is not null;
