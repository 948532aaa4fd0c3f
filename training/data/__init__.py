"""Training data: typed samples, RefShapes, loaders."""
