"""Report, pages and cards; may import `pipeline`, `loadtest` and the rooms below them."""
