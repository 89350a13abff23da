"""The stages that `dvc repro` runs, and the MLflow run; may import `serving` and `core`."""
