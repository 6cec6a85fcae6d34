"""Figures and the report, drawn from result files alone: a picture cannot disagree with the run behind it.

A figure is a module with ``collect(root, patterns)``, which reads result files into one table of columns, and
``draw(table, width)``, which draws that table and nothing else; the table is saved as CSV beside the picture.
"""

FIGURES = {
    "regret": "figures.regret",
    "tightness": "figures.tightness",
    "acceptance_bounds": "figures.acceptance_bounds",
    "acceptance": "figures.acceptance",
    "speed": "figures.speed",
    "ledger": "figures.ledger",
    "headroom": "figures.headroom",
    "speed_theorem": "figures.speed_theorem",
    "paper_formulas": "figures.paper_formulas",
    "agreement": "figures.agreement",
    "systems": "figures.systems",
    "step_sizes": "figures.step_sizes",
    "hints": "figures.hints",
}
"""Name → module, in the order of the report."""
