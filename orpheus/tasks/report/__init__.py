"""The report: one page on one run or several."""
