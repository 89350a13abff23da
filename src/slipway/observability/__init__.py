"""Alerts and a dashboard from slo.yaml, and Prometheus next to the service; may import `loadtest`, `serving` and `core`."""
