"""Answer the questions of `monitor`, one each module; may import `monitoring.window` and what `monitoring` may."""
