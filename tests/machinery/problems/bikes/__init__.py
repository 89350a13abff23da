"""The second problem: how many bikes are hired in two hours? A regression on tiny data."""
