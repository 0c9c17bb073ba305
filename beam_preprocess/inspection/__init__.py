"""What a folder of records holds: its manifest as text, damaged shards, and a contact sheet. No Beam, no TensorFlow.

Doors: `record_folder.read_manifest`, `record_folder.damaged_shards`, `record_folder.described`,
`contact_sheet.write_contact_sheet`.
"""
