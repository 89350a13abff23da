"""The demo loop, `doctor` and the drills on this machine or a test cluster; may import every other room."""
