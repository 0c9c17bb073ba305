"""What the components share: a stage's folder, time limit and inputs."""
