"""Presets: YAML files with only the differences from the dataclass defaults."""
