"""Docling: PDF and Word files read by layout models, images by optical recognition.

An adapter for the optional extra `docling`, for those who choose `CARTRIDGES_PARSER=docling`. It
was written against docling's documentation (version 2) and is tested with a stand-in for the
package alone, whose models could not be downloaded where it was written. Bounds what goes in as
the built-in readers do; the memory that the models take is docling's own affair.
"""

import importlib
import threading
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any

from retrieval.errors import DocumentRefused, ParserUnavailable
from retrieval.marks import Draft
from retrieval.package import trusted
from retrieval.pdf import MAX_PAGES, limited, open_pdf
from retrieval.text import one_line, only_text

_SECONDS = 300.0
_NAMES = {"pdf": "upload.pdf", "docx": "upload.docx", "image": "upload.png"}
_HEADINGS = {"title", "section_header"}


def docling_readers() -> Mapping[str, Callable[[bytes, Draft], str | None]]:
    """Readers of "pdf", "docx" and "image" for `retrieval.parsing.parse`.

    Raises `ParserUnavailable` when docling is not installed. Its models are loaded with the first
    document.
    """
    converter = _Converter()
    return {kind: partial(converter.read, kind) for kind in _NAMES}


class _Converter:
    """One converter for all documents, which go through it one after another."""

    def __init__(self) -> None:
        try:
            base = importlib.import_module("docling.datamodel.base_models")
            options = importlib.import_module("docling.datamodel.pipeline_options")
            package = importlib.import_module("docling.document_converter")
        except ImportError as error:
            raise ParserUnavailable(
                "docling is not installed; pip install -e '.[docling]' or choose "
                "CARTRIDGES_PARSER=builtin."
            ) from error
        formats = base.InputFormat
        timed = options.PdfPipelineOptions(document_timeout=_SECONDS)
        self._stream: Any = base.DocumentStream
        self._success: Any = base.ConversionStatus.SUCCESS
        self._converter: Any = package.DocumentConverter(
            allowed_formats=[formats.PDF, formats.DOCX, formats.IMAGE],
            format_options={
                formats.PDF: package.PdfFormatOption(pipeline_options=timed),
                formats.IMAGE: package.ImageFormatOption(pipeline_options=timed),
            },
        )
        self._lock = threading.Lock()

    def read(self, kind: str, data: bytes, draft: Draft) -> str | None:
        """Put a document's text into the draft; returns its title, if docling finds one.

        Raises `DocumentRefused` as the built-in readers do; a damaged file may raise anything.
        """
        if kind == "pdf":
            with limited():
                open_pdf(data)
        elif kind == "docx":
            data = trusted(data)
        with self._lock:
            source = self._stream(name=_NAMES[kind], stream=BytesIO(data))
            result = self._converter.convert(source, max_num_pages=MAX_PAGES)
        if result.status != self._success:
            raise DocumentRefused(
                "too_large",
                "The document could not be read to its end in time; split it into smaller ones.",
            )
        title = _write(result.document, draft)
        if not draft.text:
            raise DocumentRefused("no_text", "The document holds no text that can be recognised.")
        return title


def _write(document: Any, draft: Draft) -> str | None:
    title: str | None = None
    section: str | None = None
    for item, _ in document.iterate_items():
        label = str(getattr(item.label, "value", item.label))
        # Pictures have no text.
        table = label == "table"
        text = item.export_to_markdown(doc=document) if table else getattr(item, "text", "")
        text = only_text(text)
        if label in _HEADINGS and text.strip():
            section = one_line(text)
            if label == "title" and title is None:
                title = section
        pages = [place.page_no for place in getattr(item, "prov", ())]
        listed = label == "list_item"
        part = f"- {text}" if listed and text.strip() else text
        draft.add(part, page=pages[0] if pages else None, section=section)
    return title
