"""One page about a window of time; may import `records`, `core` and the rooms below them."""
