"""Questions about the running service, answered from its logs; may import `core` and `serving`."""
