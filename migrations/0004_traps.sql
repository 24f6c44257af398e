-- What a domain says again and again: pages that say the same, and what of its budget that leaves.

alter table pages add column gist bigint;                 -- what it says, but for digits and its own address (crawler.core.gist); null: nothing
create index pages_gist on pages (domain_id, crawl_id, gist) where gist is not null;  -- has another page of the domain said so?

-- A domain begins with 1,000 pages. One that says something new earns five, itself among them; one that says what another has said
-- before costs one. So an honest site never comes to its end, one of four fifths copies stays where it is, and a trap ends after some
-- thousand pages. Pages without text do neither.
alter table domain_pages
  add column fresh   int not null default 0,              -- stored pages that said something new
  add column alike   int not null default 0,              -- stored pages that said what another had said before
  add column granted int not null default 0,              -- pages given by hand, when it had no room left
  add column room    int generated always as (1000 + granted + 4 * fresh - alike) stored;  -- how many more may be stored
