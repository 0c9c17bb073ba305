"""Component: which model is in production now?"""

from kfp import dsl


def resolve_champion(registry: str, champion: dsl.Output[dsl.Model]) -> str:
    """Points the artifact at the champion's SavedModel.

    Returns:
      The champion's version, "" for none. `status` in the metadata is "ready", "none", or "failed" with a reason.
    """
    from trainer.registry import CHAMPION, LocalRegistry, RegistryError

    store = LocalRegistry(registry)
    version = store.alias(CHAMPION) or ""
    try:
        found = store.champion()
    except RegistryError as error:
        champion.metadata.update(status="failed", reason=str(error))
        print(f"result: champion {version} cannot be used: {error}", flush=True)
        return version
    if found is None:
        champion.metadata.update(status="none", reason=f"no champion in {registry}")
        print("result: no champion yet", flush=True)
        return ""
    champion.uri = found.path
    champion.metadata.update(status="ready", version=found.version)
    print(f"result: champion {found.version} of {found.created}", flush=True)
    return found.version
