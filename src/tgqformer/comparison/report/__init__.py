"""One self-contained HTML page about a comparison, and its tables as Markdown."""

from tgqformer.comparison.report.disagreements import Disagreement, Disagreements, disagreements
from tgqformer.comparison.report.markdown import write_markdown
from tgqformer.comparison.report.page import write_comparison_report

__all__ = [
    "Disagreement",
    "Disagreements",
    "disagreements",
    "write_comparison_report",
    "write_markdown",
]
