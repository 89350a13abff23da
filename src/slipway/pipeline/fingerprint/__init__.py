"""The fingerprint of a stage: which code it reaches, as syntax, and which locked libraries; may import only `errors`."""
