-- A crawl that `crawl run` began is looked after by that run: when it ends, or is certainly dead, the crawl is left, which is a pause
-- that running it again ends. Nobody else's run goes on with it.
alter table crawls add column attendant text;  -- the run, as JSON; 'left': it has ended; 'hand': so it had when it was paused by hand; null: it belongs to whoever works
