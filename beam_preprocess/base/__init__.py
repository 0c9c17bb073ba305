"""What both packages stand on: errors, files and URIs, strict readers, and how a command ends."""
