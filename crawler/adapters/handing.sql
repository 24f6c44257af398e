-- What who iterates over the pages of a crawl asks.

-- name: handing_end
-- The first transaction that has not begun: what was committed up to now is before it, and a follower that is behind it has had all of that.
select pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
