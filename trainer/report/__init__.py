"""The report of a run: one HTML page for people.

Door: `page.write_report`.
"""
