"""From a running pod back to the data; may import `packaging`, `github` and the rooms below, never `judging` or `delivery`."""
