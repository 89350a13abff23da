"""Alerts from slo.yaml, their tests, and Prometheus next to the service; may import `loadtest`, `serving` and `core`."""
