"""Whether budgets are kept, and what memory our forwards take."""
