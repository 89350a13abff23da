"""The example problem: will this flight arrive 15 or more minutes late? Replace this package with your own."""
