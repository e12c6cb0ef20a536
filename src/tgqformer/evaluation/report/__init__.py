"""One self-contained HTML page: table, curve, breakdown and a gallery of neighbours."""

from tgqformer.evaluation.report.page import GalleryCell, GalleryRow, gallery_rows, write_report

__all__ = ["GalleryCell", "GalleryRow", "gallery_rows", "write_report"]
