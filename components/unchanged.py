"""Component: the run ends here, because nothing changed."""


def unchanged() -> str:
    """Says so."""
    print("result: nothing new, no model was trained", flush=True)
    return "unchanged: data, configuration and image are the last completed run's"
