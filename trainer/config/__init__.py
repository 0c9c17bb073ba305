"""From one YAML text to typed, checked settings."""
