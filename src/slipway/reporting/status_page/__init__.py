"""The status page, from Git alone: ledgers, records and commits; may import `records`, `cluster` and the rooms below them."""
