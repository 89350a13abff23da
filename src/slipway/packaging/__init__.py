"""Make a bento and an image of a model, and read registries; may import `reporting` and the rooms below it."""
