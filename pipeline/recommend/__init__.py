"""A configuration written from the data: facts, the choices that follow from them, and the text that says why.

Doors: `write.write` and `write.before_data`.
"""
