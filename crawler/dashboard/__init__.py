"""The web page and the API: what a crawl is doing, for people and for programs."""
