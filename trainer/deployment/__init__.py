"""Puts a published version behind an endpoint: deployed without traffic, tested, then given a share of the requests.

Doors: `plan.Plan`, `rollout.deploy`, `rollout.roll_back`, `rollout.remove_idle`, `manifest.manifest`.
"""
