"""Small webs on loopback: the language they are written in, their servers, and the web of `crawl demo`. The tests use them too."""
