"""From a model to a bento, an image and its registry; may import `reporting` and the rooms below it."""
