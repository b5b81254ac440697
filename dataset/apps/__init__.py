"""Models inside Android apps: which there are, what they are for, and which are the same (gaugeNN).

`dataset.apps.scan.scan_archive` reads one archive, `dataset.apps.run.scan_apps` many of them into a
dataset, and `dataset.apps.report.read_report` says what the population looks like. docs/apps.md tells what
counts as evidence of a model.
"""
