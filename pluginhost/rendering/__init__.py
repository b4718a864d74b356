"""Reports as text that a tired person takes in at a glance, 80 columns wide.

A report becomes lines of (text, style) spans. `plain` drops the styles; a terminal front-end
gives them colours. Nothing here measures: it shows what the records say, the worst first.
Each kind of report has a module, so that what shows one does not load the records of the others.
"""
