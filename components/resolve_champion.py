"""Component: the model that an alias of the registry names now."""

from kfp import dsl


def resolve_champion(registry: str, alias: str, known: str, champion: dsl.Output[dsl.Model]) -> str:
    """Points the artifact at the SavedModel of `champion` or `best`.

    `known`: the champion's version, for `best`. Returns the version; "" if there is none, or if it is `known`.
    `status` in the metadata is "ready", "none", "champion" (it is `known`), or "failed" with a reason.
    """
    from components.support.stage import step

    with step(f"find {alias}"):
        from trainer.registry.base import RegistryError
        from trainer.registry.uri import open_registry

        store = open_registry(registry)
        version = store.alias(alias) or ""
        if not version or version == known:
            status = "champion" if version else "none"
            reason = f"{alias} is the champion {known}" if version else f"no {alias} yet"
            champion.metadata.update(status=status, reason=reason)
            print(f"result: {reason}", flush=True)
            return ""
        try:
            found = store.version(version)
        except RegistryError as error:
            champion.metadata.update(status="failed", reason=str(error))
            print(f"result: {alias} {version} cannot be used: {error}", flush=True)
            return version
        champion.uri = found.path
        champion.metadata.update(status="ready", version=found.version)
        print(f"result: {alias} {found.version} of {found.created}", flush=True)
        return found.version
