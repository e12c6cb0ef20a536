"""One self-contained HTML page: table, curve, breakdown and a gallery of neighbours."""

from tgqformer.evaluation.report.gallery import GalleryCell, GalleryRow, gallery_rows
from tgqformer.evaluation.report.page import write_report

__all__ = ["GalleryCell", "GalleryRow", "gallery_rows", "write_report"]
