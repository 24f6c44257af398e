"""Random damage, for as long as CRAWL_TEST_FUZZ_SECONDS says."""
