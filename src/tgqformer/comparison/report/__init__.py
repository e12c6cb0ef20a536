"""One self-contained HTML page about a comparison, and its tables as Markdown."""

from tgqformer.comparison.report.markdown import write_markdown
from tgqformer.comparison.report.page import write_comparison_report
from tgqformer.comparison.report.readings import Disagreement, Disagreements, disagreements

__all__ = [
    "Disagreement",
    "Disagreements",
    "disagreements",
    "write_comparison_report",
    "write_markdown",
]
