"""What both packages build on: errors, files and URIs, strict readers, progress lines, and how a command runs.

Doors: `errors.InputError` and `errors.Failure`; `command.parser` and `command.run`; `files.write_text` and
`files.read_text`; `json.read`; `config_text.resolve`.
"""
