-- The truth: the frontier, what was kept of it, and who may touch which domain.
-- Every key of what belongs to a domain starts with domain_id: one domain's rows lie together, and the schema can be
-- distributed by it. Constraint names are sentences, for they end up in front of people.

create table crawls (
  crawl_id      int generated always as identity,
  name          text not null,
  state         text not null default 'running',
  version       int not null default 1,                 -- grows with every change; a worker with another number reads again
  scope         text not null,
  include       text[] not null default '{}',
  exclude       text[] not null default '{}',
  max_pages     bigint,                                 -- null: no limit, here and below
  max_depth     int,
  max_pages_per_domain int,
  delay         double precision,                       -- seconds; null: the setting DELAY
  per_domain    smallint,                               -- null: the setting PER_DOMAIN
  user_agent    text,                                   -- null: the setting USER_AGENT
  refresh       text not null default 'off',
  parser        text,                                   -- null: the setting PARSER
  pages         bigint not null default 0,              -- stored pages; exact, and locked, only for a crawl with max_pages
  rearm         bigint,                                 -- resume in progress: domains up to this id have been touched
  created_at    timestamptz not null default now(),
  finished_at   timestamptz,
  finished_why  text,
  constraint "a crawl has a number of its own" primary key (crawl_id),
  constraint "a crawl has a name of its own" unique (name),
  constraint "a crawl is running, paused, finished or cancelled" check (state in ('running', 'paused', 'finished', 'cancelled')),
  constraint "a scope is page, prefix, host, domain or any" check (scope in ('page', 'prefix', 'host', 'domain', 'any'))
) with (fillfactor = 50);

-- One key a seed: a link is in scope when one of its own keys is among them (crawler.core.scope).
create table scope_keys (
  crawl_id  int not null,
  scope_key bigint not null,
  constraint "a scope key stands once in a crawl" primary key (crawl_id, scope_key),
  constraint "a scope key belongs to a crawl" foreign key (crawl_id) references crawls on delete cascade
);

-- Counters in slots, a row for each worker's share, so that workers do not queue for one row. outcome '': none yet.
create table crawl_counts (
  crawl_id int not null,
  slot     smallint not null,
  outcome  text not null,
  urls     bigint not null default 0,
  fetches  bigint not null default 0,
  bytes    bigint not null default 0,
  constraint "a worker counts an outcome of a crawl in one row" primary key (crawl_id, slot, outcome),
  constraint "a count belongs to a crawl" foreign key (crawl_id) references crawls on delete cascade
) with (fillfactor = 50);

create table domains (
  domain_id   bigint not null,
  name        text not null,
  due_at      timestamptz,                               -- never later than the earliest due URL of a running crawl
  ready_at    timestamptz not null default '-infinity',  -- when it will bear a visit; a lease is only a later one
  due_for     int not null default 0,                    -- the crawl in whose line it stands: dispatch is fair between lines
  blocked     text,                                      -- by hand, with the reason
  -- the one key to find work by: exact, and in the order of "since when could it have been visited"
  next_at     timestamptz generated always as
              (case when due_at is not null and blocked is null then greatest(due_at, ready_at) end) stored,
  turn        bigint not null default 0,                 -- the fencing number: every change of who may act bumps it
  holder      text,                                      -- null: free; 'queue': a message is out; else the worker that accepted
  dispatcher  text,                                      -- who put the message out; should it die, the message may never have left
  lost        smallint not null default 0,               -- turns in a row that ended without a release
  delay       interval not null default '1 s',           -- the pause it is given, as last known
  delay_by_hand       interval,
  concurrency_by_hand smallint,
  address     inet,                                      -- last connected to
  crowded     boolean not null default false,            -- its last turn found no room at its address (per_address)
  failures    smallint not null default 0,               -- turns in a row in which nothing was answered
  throttled   smallint not null default 0,               -- turns in a row that ended with 429 or 503
  waits_for   text,                                      -- why ready_at is later than a pause would make it
  visited_at  timestamptz,                               -- when it was last crawled
  constraint "a domain has one row" primary key (domain_id)
) with (fillfactor = 70);
create index domains_due on domains (due_for, next_at) where next_at is not null;
create index domains_out on domains (address) where holder is not null or crowded;  -- few: what is queued, held, or waits for room

create table domain_pages (
  domain_id bigint not null,
  crawl_id  int not null,
  pages     int not null default 0,                      -- stored pages of this domain in this crawl
  constraint "a domain's pages are counted once for a crawl" primary key (domain_id, crawl_id)
) with (fillfactor = 70);

create table origins (
  domain_id  bigint not null,
  origin     text not null,
  status     smallint,                                   -- of the last robots.txt answer; null: none came
  body       bytea,                                      -- the last good copy
  good_at    timestamptz,                                -- when that copy came
  fetched_at timestamptz,
  expires_at timestamptz,                                -- when to ask again
  failures   smallint not null default 0,
  detail     text not null default '',
  sitemaps   text[] not null default '{}',
  constraint "an origin has one row" primary key (domain_id, origin)
) partition by hash (domain_id);

create table urls (
  domain_id  bigint not null,
  crawl_id   int not null,
  url_hash   bytea not null,
  url        text not null,
  due_at     timestamptz,                                -- null: never again, unless armed again; priority is spent as an earlier one
  open       boolean not null default true,              -- no final outcome yet: what "finished" means
  seed       boolean not null default false,
  depth      smallint not null default 0,                -- links from a seed
  hops       smallint not null default 0,                -- redirects in a row that led here
  attempts   smallint not null default 0,                -- failures in a row
  outcome    text,                                       -- of the last visit
  detail     text not null default '',
  revisit    interval,                                   -- how long until the next visit, as last decided
  found_at   timestamptz not null default now(),
  found_domain_id bigint,                                -- where it was found: a row of urls, same crawl
  found_hash bytea,
  constraint "a URL stands once in a crawl" primary key (domain_id, crawl_id, url_hash)
) partition by hash (domain_id);
create index urls_due on urls (domain_id, crawl_id, due_at) where due_at is not null;
create index urls_open on urls (crawl_id) where open;
create index urls_seed on urls (crawl_id) where seed;
create index urls_outcome on urls (crawl_id, outcome) where not open;

create table pages (
  domain_id    bigint not null,
  crawl_id     int not null,
  url_hash     bytea not null,
  first_at     timestamptz,                              -- when it was first stored (outcome ok); null: never yet
  fetched_at   timestamptz not null,
  changed_at   timestamptz,                              -- when its digest last became another
  outcome      text not null,
  status       smallint,
  detail       text not null default '',
  address      inet,
  protocol     text,
  request_headers jsonb not null default '[]',           -- [[name, value], ...] in order, here and below
  headers      jsonb not null default '[]',
  directives   text[] not null default '{}',
  content_type text,
  charset      text,
  title        text,
  language     text,
  redirect_to  text,
  etag         text,
  last_modified text,
  length       int,                                      -- bytes, decoded
  digest       bytea,                                    -- SHA-256 of the bytes: a row of bodies
  text_digest  bytea,                                    -- of the visible text
  constraint "a page is the last visit to a URL" primary key (domain_id, crawl_id, url_hash)
) partition by hash (domain_id);

create table bodies (
  digest     bytea not null,
  size       int not null,                               -- bytes, before compression
  touched_at timestamptz not null default now(),
  data       bytea not null,                             -- zstd
  constraint "a body is kept once" primary key (digest)
);
alter table bodies alter column data set storage external;  -- already compressed

create table fetches (
  at        timestamptz not null,
  domain_id bigint not null,
  crawl_id  int not null,
  url_hash  bytea not null,
  outcome   text not null,
  status    smallint,
  bytes     bigint not null default 0,                   -- over the wire
  ms        int not null default 0,
  worker    text not null,
  detail    text not null default ''
) partition by range (at);
create index fetches_url on fetches (domain_id, url_hash, at);
create index fetches_at on fetches using brin (at);       -- "what happened lately"
create table fetches_rest partition of fetches default;  -- the net below the day partitions: an insert never fails

create table workers (
  worker_id  text not null,
  host       text not null,
  boot       text not null,                              -- of that host; with the next two tells whether it is certainly dead
  pid        int not null,
  began      bigint not null default 0,                      -- clock ticks from the boot to its start
  version    text not null,
  slots      int not null,
  queue      text not null default 'postgres',           -- which carries its turns: postgres or rabbit
  started_at timestamptz not null default now(),
  seen_at    timestamptz not null default now(),
  constraint "a worker has one row" primary key (worker_id)
);

-- The queue on PostgreSQL alone: what RabbitMQ carries when there are many machines.
create table messages (
  message_id bigint generated always as identity,
  queue      text not null,                              -- crawl.turns, crawl.turns.urgent, crawl.dead
  body       bytea not null,
  consumer   int,                                        -- who has it; null: nobody. Its session holds an advisory lock
  deliveries smallint not null default 0,
  sent_at    timestamptz not null default now(),
  reason     text,                                       -- why it is dead
  constraint "a message has a number of its own" primary key (message_id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index messages_waiting on messages (queue, message_id) where consumer is null;
create sequence consumers as int cycle;

do $$
begin
  for part in 0..7 loop
    execute format('create table origins_%s partition of origins for values with (modulus 8, remainder %s)', part, part);
    execute format('create table urls_%s partition of urls for values with (modulus 8, remainder %s) with (fillfactor = 80)', part, part);
    execute format('create table pages_%s partition of pages for values with (modulus 8, remainder %s)', part, part);
  end loop;
end $$;
