"""What the package costs, measured from the root of a checkout; never installed (docs/performance.md)."""
