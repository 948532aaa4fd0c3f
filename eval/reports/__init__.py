"""Reports for people: tables, plots and a page from what a run left, published figures beside ours, a run repeated.

`opened` reads a report, `published` the figures of papers, `comparison` puts both side by side; `cases` chooses what
the gallery of `gallery` shows; `markdown`, `plots` and `page` write; `hub_results` writes what the Hub reads.
"""
