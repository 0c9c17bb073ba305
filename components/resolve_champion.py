"""Component: which model does an alias of the registry name now?"""

from kfp import dsl


def resolve_champion(registry: str, alias: str, known: str, champion: dsl.Output[dsl.Model]) -> str:
    """Points the artifact at the SavedModel of `champion` or `best`.

    `known`: the champion's version, when `best` is asked for. Returns the version; "" for none, or when it is `known`.
    `status` in the metadata is "ready", "none", "champion" (it is `known`), or "failed" with a reason.
    """
    from components.support.stage import limited
    from trainer.registry.base import RegistryError
    from trainer.registry.uri import open_registry

    with limited(f"find {alias}"):
        store = open_registry(registry)
        version = store.alias(alias) or ""
        if not version or version == known:
            status, reason = (
                ("champion", f"{alias} is the champion {known}") if version else ("none", f"no {alias} yet")
            )
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
