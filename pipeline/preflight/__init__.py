"""Checks that refuse a run before anything long or costly starts.

Doors: `data.check_data`, `data.check_buckets`, `folders.check_writable`,
`configuration.ConfigCheck`. `processes.child_environment` is what our own processes run with.
"""
