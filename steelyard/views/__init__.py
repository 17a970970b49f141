"""Everything a person reads: terminal, report, pages, pictures, Markdown, alerts."""
