"""The flights problem goes through every chapter, on the sample of conftest.py."""

import slipway.testing


class TestProject(slipway.testing.ProjectChecks):
    """The checks that Slipway gives to every project."""
