"""What a page says of itself in JSON-LD (https://json-ld.org/): products, articles, events, recipes, as schema.org names them."""

from crawler.page import Page


def jsonld(page: Page) -> dict[str, object] | None:
    """``{"jsonld": [{"@type": "Product", ...}, ...]}``, in document order; None: there is none, or none that can be read.

    What stands in an ``@graph`` stands in the list by itself. A block that is no JSON, or nested absurdly, is left out.
    """
    if not page.content_type or "html" not in page.content_type:
        return None
    found: list[object] = []
    for block in page.document.json_ld():
        for item in block if isinstance(block, list) else [block]:
            graph = item.get("@graph") if isinstance(item, dict) else None
            found += graph if isinstance(graph, list) else [item]
    return {"jsonld": found} if found else None
