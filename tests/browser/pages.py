"""Which pages are tested: frontend and renderer.

The bundled frontend's Nodes 2.0 was an experiment, which its users had to switch on: the templates are not run there.
"""

PAGES = ("bundled-canvas", "newest-canvas", "newest-nodes2", "bundled-nodes2")
TEMPLATE_PAGES = PAGES[:-1]  # the same order: pytest groups by it
