"""The data as given, and what is wrong with it: sources, checks, reason codes. No Beam."""
