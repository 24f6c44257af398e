-- Upgrades while the crawl goes on: which migrations older programs cannot live with.

alter table migrations
  add column breaks text;                                         -- why programs that do not know it cannot go on; null: they can
