"""The console command: parser, flags and verbs."""
