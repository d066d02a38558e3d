"""Reports of both evaluations: records, tables, curves, pictures and one page that shows them all.

An evaluation makes a `RunRecord` (`libs.reports.records`), keeps every sample with `libs.reports.storage` while it
runs, draws a sheet per round with `libs.reports.pictures`, and ends with `libs.reports.report.write_report`.
"""
