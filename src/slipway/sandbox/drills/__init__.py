"""Fault injection on a test cluster; imported by the command line alone, so that it can be deleted."""
