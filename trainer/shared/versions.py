"""The version of the project: of the package, of the command, and of the images that `make images` builds."""

VERSION = "0.1.0"
"""Change it here only. pyproject.toml, the Makefile and the targets read it; a test compares cloudbuild.yaml."""
