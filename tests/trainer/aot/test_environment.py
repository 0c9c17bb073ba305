from trainer.aot import environment, xla


def test_the_lock_has_the_version_that_the_script_asks_for() -> None:
    assert f"jax=={xla.JAX}\n" in environment.LOCK.read_text()
