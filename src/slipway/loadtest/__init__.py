"""The load test and the canary analysis, which run in the cluster next to the service; may import `serving` and `core`."""
