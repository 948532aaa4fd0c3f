"""Training: data, phases, losses' weights, auxiliary networks. Nothing here enters a released model."""
