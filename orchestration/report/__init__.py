"""The report: one page that finance opens, made of the published tables alone."""
