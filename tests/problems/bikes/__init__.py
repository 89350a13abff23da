"""The second problem: how many bikes are hired in two hours? A regression on tiny data; it proves the seam."""
