"""GitHub's API, the pull request's comment and untrusted artifacts; may import `reporting` and the rooms below it."""
