"""Kubernetes and Argo CD: manifests, digest pins, waiting for a sync; may import `core`."""
