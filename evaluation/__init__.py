"""Arms, scoring, statistics and the results that documentation may quote."""
