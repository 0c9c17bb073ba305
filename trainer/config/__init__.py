"""From one YAML text to typed, checked settings.

Its doors: `sections.parse_config`, `experiment.build_experiment`, `records.fit_to_records`, `checks.warnings`.
"""
