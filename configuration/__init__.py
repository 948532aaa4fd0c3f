"""Ground floor: the typed model configuration and its presets."""
