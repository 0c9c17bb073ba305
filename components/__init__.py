"""KFP components, one per file: each calls one function of ours and sets its artifacts' metadata.

Doors: the function in each module, which has the module's name.
"""
