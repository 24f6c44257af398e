-- The schema on several PostgreSQL servers, by Citus: which table lies where. docs/growing.md says when this is worth it, and what the program
-- lacks to run on it. tests/adapters/test_distribution.py holds this file against the schema and against every statement of the program.
--
-- On the coordinator, as the owner of the tables, after `crawl migrate` and before the first crawl (with rows in it: with every worker stopped):
--   create extension citus;
--   select citus_set_coordinator_host('db0.internal', 5432);
--   select citus_add_node('db1.internal', 5432);             -- for each further server
--   \i deploy/citus/distribute.sql
--
-- local: crawl_counts, fetch_hours, fetch_minutes, jobs, workers, messages, migrations
-- These stay on the coordinator: few rows, written all the time, read by crawl or by name and never joined with a shard row by row.

begin;

-- On every server: each turn asks for the URLs of one domain crawl by crawl, and each link whether it is in scope. Few rows, seldom written.
select create_reference_table('crawls');
select create_reference_table('scope_keys');

-- One domain's rows on one server: a turn is dispatched, accepted, recorded and released by transactions that lock rows of that domain
-- (shared keys begin with domain_id, and so does every partition). 32 shards are enough for 8 servers of 4 shards; what is partitioned by hash
-- keeps its 8 partitions in each.
select create_distributed_table('domains', 'domain_id', colocate_with => 'none', shard_count => 32);
select create_distributed_table('domain_pages', 'domain_id', colocate_with => 'domains');
select create_distributed_table('origins', 'domain_id', colocate_with => 'domains');
select create_distributed_table('urls', 'domain_id', colocate_with => 'domains');
select create_distributed_table('pages', 'domain_id', colocate_with => 'domains');
select create_distributed_table('sitemaps', 'domain_id', colocate_with => 'domains');
select create_distributed_table('versions', 'domain_id', colocate_with => 'domains');
select create_distributed_table('links', 'domain_id', colocate_with => 'domains');
select create_distributed_table('page_words', 'domain_id', colocate_with => 'domains');
select create_distributed_table('fetches', 'domain_id', colocate_with => 'domains');

-- A body is kept once, whichever domains have it: it lies by its own key, elsewhere than the pages that name it.
select create_distributed_table('bodies', 'digest', colocate_with => 'none', shard_count => 32);

commit;
