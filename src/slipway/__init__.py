"""The machinery of Slipway: one module a chapter, kept by every user of the template."""
