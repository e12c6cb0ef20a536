"""What a cell says, whoever filled it: missing or not, a price, the stock, links, plain text.

Each kind of value has one reader, and catalogs, imports and downloads all use it. A reader returns
what the value says, or says why it cannot tell; it never guesses in silence.
"""

from __future__ import annotations

import ast
import html
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tgqformer.catalog.quarantine import shown

Decimal: TypeAlias = Literal["point", "comma"]
"""What stands before the fraction in a shop's prices."""

MISSING_TEXTS = frozenset(
    ("", "<NA>", "NaT", "NaN", "nan", "NAN", "-nan", "-NaN", "None", "none", "NONE", "null", "Null",
     "NULL", "N/A", "n/a", "N/a", "#N/A", "#n/a", "#NA", "#N/A N/A", "\\N", "(null)", "(NULL)",
     "<null>", "<NULL>", "[null]", "[NULL]", "nil", "Nil", "NIL", "n.a.", "N.A.", "undefined",
     "(not set)", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#NV",
     "-", "--", "---", "\u2013", "\u2014")
)  # fmt: skip
"""Texts that stand for a missing value, as spreadsheets, databases, analytics and pandas write
them, and as people do with a dash. "NA" is none: it is a size, a brand and Namibia as well."""

_MISSING_TYPES = ("NAType", "NaTType")  # of pandas, which need not be installed


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def plain_value(value: Any) -> Any:
    """Return a value as plain Python has it: None where it is missing, lists for arrays and tuples.

    Missing are None, NaN, pandas' NA and NaT, NumPy's NaT, and the texts of MISSING_TEXTS, also
    with white space around them; a blank text stays. NumPy's scalars become Python's.
    """
    if isinstance(value, str):
        return None if value in MISSING_TEXTS or (value.strip() or " ") in MISSING_TEXTS else value
    if value is None or isinstance(value, (bytes, int, Mapping, list)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    if type(value).__name__ in _MISSING_TYPES:
        return None
    if hasattr(value, "tolist") and not isinstance(value, memoryview):  # arrays, scalars, series
        return plain_value(value.tolist())
    if hasattr(value, "to_list"):
        return list(value.to_list())
    if hasattr(value, "as_py"):  # Arrow's scalars
        return plain_value(value.as_py())
    try:
        return None if bool(value != value) else value  # Decimal("NaN") and its like
    except Exception:  # whatever cannot be compared is no NaN
        return value


def is_missing(value: Any) -> bool:
    """Tell whether a value, a text such as ``"N/A"`` among them, stands for nothing."""
    return plain_value(value) is None


# --- prices -------------------------------------------------------------------------------------

_CODES = _words(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN "
    "BWP BYN BZD CAD CDF CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR "
    "FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD "
    "JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK "
    "MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN "
    "PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB "
    "TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER "
    "ZAR ZMW ZWL RMB"
)
_WORDS = _words(
    "kr zł kč ft fr sfr rs rm rp руб р лв lei ден din tl eu euro euros dollar dollars pound pounds "
    "yen won yuan rupees грн тг km ₫ đ dhs dh nis 元 円 원"
)
_BEFORE_SIGN = re.compile(r"\b(?:r|us|a|au|c|ca|nz|hk|nt|s|mx|ar)(?=\s?[$/])", re.I)
"""What tells dollars apart, and S/ soles: letters that are no currency without their sign."""

_ARABIC = re.compile("[\u062f\u0631]\\.[\u0625\u0633\u0642\u0639\u0645]\\.?")
"""Dirham, riyal and their kin, as abbreviated in Arabic."""
_WHOLE = _words("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF ₫ ₩ 円 원")
"""Currencies without a fraction (ISO 4217, exponent 0): in these every separator groups."""

_FROM = re.compile(
    r"^(?:from|starting (?:at|from)|ab|desde|à partir de|dès|od|da|vanaf|fra)\s+", re.I
)
_NUMBER = re.compile(r"(?:\d|[.,](?=\d))(?:[\d.,' ]*\d)?(?:[eE][+-]?\d+\b)?")
_DASH_END = re.compile(r"([.,])\s*[-–—]{1,2}(?=\D*$)")  # 1299.- and 1.299,--
_SLASH_END = re.compile(r"(?<=\d)\s?[/:][-–—=](?=\D*$)")  # 1299/- in India, 1299:- in Sweden
_IN_CELL = re.compile(r"=?\"([^\"]+)\"|'(.+)")  # that a spreadsheet shall take it for a text
_LEADING_DASH = re.compile(r"^[–—]\s?(?=\W?\d)")
_BARE_POINT = re.compile(r"(?<=\d)[.,]$")
_BRACKETED = re.compile(r"([^\d(]{0,4})\((.*)\)")
_EXPONENT = re.compile(r"[.,]?\d[\d]*(?:[.,]\d*)?[eE][+-]?\d+$|[.,]\d+[eE][+-]?\d+$")
_SIGNS = str.maketrans(
    {**dict.fromkeys("−﹣－‐‑‒", "-"), **dict.fromkeys("’‘ʼ´`′", "'"),
     "\u066b": ".", "\u066c": "'", "\u060c": ",", "．": ".", "，": ","}
)  # fmt: skip
_MAX_PRICE_CHARS = 60
_AMOUNTS = ("amount", "value", "price", "$numberDecimal")
"""What an object that is a price calls its number."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a price says.

    Attributes:
        amount: with its sign; None where nothing is said or it cannot be told.
        fault: (rule, reason) where it cannot be read, or where there is something to say of how it
            was: then `amount` is not None.
    """

    amount: float | None = None
    fault: tuple[str, str] | None = None


def read_price(value: Any, *, decimal: Decimal | None = None) -> Price:
    """Read an amount of money: ``49,90``, ``$1,234.50``, ``1.249,00 €``, ``₹1,23,456``, ``(5.00)``.

    Read are currencies before or after, grouping by point, comma, space or apostrophe (also as in
    India), any script's digits, and signs; of a range, ``5 - 9``, the lower end, which is told.
    ``1.299`` and ``1,299`` have two readings and are refused, unless `decimal` decides, the
    currency has no fraction (``2.500 VND``), or another mark stands in the same number.

    Args:
        value: a number, a text, or something that is missing.
        decimal: the decimal mark of whoever wrote it, None where it is not known.
    """
    value = plain_value(value)
    if isinstance(value, list) and len(value) == 1:
        value = plain_value(value[0])
    if isinstance(value, Mapping):  # {"amount": "12.50", "currencyCode": "EUR"}
        told = [value[name] for name in _AMOUNTS if name in value]
        if len(told) != 1 or isinstance(told[0], (Mapping, list)):
            return _unread(value)
        value = plain_value(told[0])
    if value is None:
        return Price()
    if not isinstance(value, str):
        try:
            if isinstance(value, bool):
                raise ValueError
            return Price(float(value))
        except (TypeError, ValueError, OverflowError):
            return _unread(value)
    text = _normal(value)
    if (held := _IN_CELL.fullmatch(text)) is not None:
        text = (held[1] if held[2] is None else held[2]).strip()
    if len(text) > _MAX_PRICE_CHARS:
        return _unread(value)
    if text in ("", "-", "–", "—"):
        return Price()
    if re.fullmatch(r"[+-]?inf(inity)?", text, re.I):
        return Price(float(text))
    lower = _FROM.sub("", text)
    try:
        amounts = _amounts(lower, decimal)
    except _TwoReadingsError as two:
        one, other = two.args
        return Price(
            None,
            (
                "ambiguous price",
                f"{shown(value)} is {one} or {other}, and nothing tells which; write {one}.00 or "
                f"{other}0, or say at the import which mark stands before the fraction "
                "(--set decimal=point or decimal=comma)",
            ),
        )
    if len(amounts) == 1 and lower == text:
        return Price(amounts[0])
    if not amounts or (len(amounts) == 2 and amounts[0] > amounts[1]):
        return _unread(value)
    return Price(
        amounts[0],
        (
            "price range",
            f"{shown(value)} is a range, of which the lower end, {amounts[0]:g}, is taken; give "
            "one price to have another",
        ),
    )


class _TwoReadingsError(Exception):
    """A number that is one with a point as decimal mark, and another one with a comma."""


def _unread(value: Any) -> Price:
    reason = (
        f"{shown(value)} is no price; write one amount, such as 49.90 or 49,90 €, or leave it empty"
    )
    return Price(None, ("no number", reason))


def _normal(text: str) -> str:
    """Digits of any script as 0 to 9, one kind of minus and apostrophe, plain single spaces."""
    if not text.isascii():
        digits = (
            str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c
            for c in text.translate(_SIGNS)
            if unicodedata.category(c) != "Cf"
        )
        text = "".join(digits)
    return _BARE_POINT.sub("", " ".join(text.replace("`", "'").split()))


def _amounts(text: str, decimal: Decimal | None) -> list[float]:
    """The one or two amounts of a normalised text, [] where it is anything else."""
    if (bracketed := _BRACKETED.fullmatch(text)) is not None:  # as accountants write a minus
        inner = _amounts(f"{bracketed[1]}{bracketed[2]}".strip(), decimal)
        return [-inner[0]] if len(inner) == 1 and inner[0] >= 0 else []
    text = _LEADING_DASH.sub("-", _DASH_END.sub(r"\g<1>00", _SLASH_END.sub("", text)))
    found = list(_NUMBER.finditer(text))
    if not 1 <= len(found) <= 2:
        return []
    last = found[-1]
    around = [text[: found[0].start()], text[last.end() :]]
    if len(found) == 2:
        between = text[found[0].end() : last.start()]
        sides = re.fullmatch(r"(.*?)\s*(?:[-–—~]|\bto\b)\s*(.*?)|(\s*\D*)", between)
        if sides is None:
            return []
        if sides[3] is not None:  # $12.99$29.99: a currency, and nothing else, between the two
            mark = sides[3].strip()
            if not mark or mark not in (around[0].strip(), around[1].strip()):
                return []
        around += [part for part in sides.groups() if part]
    negative = False
    marks_seen: list[str] = []
    for place, part in enumerate(around):
        part = part.strip()
        if len(found) == 1 and "-" in part:
            ends = place == 0 or (part == "-" and text.endswith(last.group() + "-"))
            if part.count("-") > 1 or not ends or negative:
                return []
            negative, part = True, part.replace("-", "").strip()
        part = part.replace("+", "", 1) if place == 0 else part
        if not _is_currency(part):
            return []
        marks_seen.append(part)
    if len({mark.upper() for mark in marks_seen} & _CODES) > 1:
        return []
    whole = any(mark in _WHOLE or mark.upper() in _WHOLE for mark in marks_seen)
    amounts = [_amount(match.group(), decimal, whole) for match in found]
    if None in amounts:
        return []
    known = [amount for amount in amounts if amount is not None]
    return [-known[0]] if negative else known


def _is_currency(mark: str) -> bool:
    """Whether what stands beside an amount is a currency, or nothing."""
    for part in re.findall(r"[^\W\d_]+|\S", _BEFORE_SIGN.sub("", _ARABIC.sub("", mark))):
        if part.upper() in _CODES or part.casefold() in _WORDS:
            continue
        if part in "./" and len(mark) > 1:  # kr., S/.
            continue
        if unicodedata.category(part[0]) != "Sc" or part == "¢":
            return False
    return True


def _amount(number: str, decimal: Decimal | None, whole: bool) -> float | None:
    """The value of digits with separators; None where they are no number.

    Raises:
        _TwoReadingsError: there are two.
    """
    if number[-1:].isdigit() and re.search(r"[eE]", number):
        return float(number.replace(",", ".")) if _EXPONENT.fullmatch(number) else None
    if " " in number and "'" in number:
        return None
    group = next((mark for mark in " '" if mark in number), "")
    marks = [mark for mark in number if mark in ".,"]
    kinds = set(marks)
    if len(kinds) == 2:
        point = marks[-1]
        if marks.count(point) > 1 or group:
            return None
        return _joined(number, next(iter(kinds - {point})), point)
    if not marks:
        return _joined(number, group, "")
    mark = marks[0]
    if len(marks) > 1:
        return None if group else _joined(number, mark, "")
    head, tail = number.split(mark)
    if group or not head or head[0] == "0" or len(tail) != 3 or len(head) > 3:
        return _joined(number, group, mark)
    if whole:
        return float(head + tail)
    if decimal is None:
        raise _TwoReadingsError(head + tail, f"{head}.{tail}")
    return float(f"{head}.{tail}") if (decimal == "point") == (mark == ".") else float(head + tail)


def _joined(number: str, group: str, point: str) -> float | None:
    """Digits to a number, where the groups are of three, or of two and at last three (India)."""
    head, _, tail = number.partition(point) if point else (number, "", "")
    if not (tail or "0").isdigit() or not (head or "0").replace(group or "\0", "").isdigit():
        return None
    parts = head.split(group) if group else [head]
    if len(parts) > 1:
        sizes = [len(part) for part in parts]
        western = sizes[0] in (1, 2, 3) and set(sizes[1:]) == {3}
        indian = sizes[0] in (1, 2) and sizes[-1] == 3 and set(sizes[1:-1]) == {2} and group == ","
        if not western and not indian:
            return None
    return float(f"{''.join(parts) or 0}.{tail or 0}")


# --- stock --------------------------------------------------------------------------------------

_IN_STOCK = _words(
    "in_stock instock available true yes y t on 1 limited_availability limitedavailability "
    "low_stock lowstock onlineonly online_only instoreonly in_store_only active auf_lager "
    "en_stock disponible disponibile lieferbar ja oui si sí"
)
_OUT_OF_STOCK = _words(
    "out_of_stock outofstock oos unavailable not_available notavailable false no n f off 0 "
    "sold_out soldout discontinued preorder pre_order presale pre_sale backorder back_order "
    "onbackorder on_backorder madetoorder made_to_order reserved ausverkauft nicht_lieferbar "
    "agotado épuisé esaurito nein non"
)


_PIECES = re.compile(r"[>~]?\s?(\d+)(?:\+|\s(?:pcs|pieces|units|left|in stock|available)\.?)?")
"""How many, as in ``10+``, ``>5``, ``12 pcs`` and ``5 in stock``."""


def read_stock(value: Any) -> bool | None:
    """Tell whether an item can be had now; None where nothing is said, or nothing understood.

    Read are Google's ``in_stock`` and ``in stock``, schema.org's ``https://schema.org/InStock``,
    yes and no, true and false, and a number of pieces. What must first be made or ordered
    (preorder, backorder) is not in stock.
    """
    value = plain_value(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value > 0
    if not isinstance(value, str):
        return None
    text = value.strip().casefold()
    text = re.sub(r"^https?://(www\.)?schema\.org/", "", text).removeprefix("schema:")
    text = re.sub(r"[\s_-]+", "_", text.strip("/"))
    if text in _IN_STOCK:
        return True
    if text in _OUT_OF_STOCK:
        return False
    try:
        pieces = _PIECES.fullmatch(value.strip().casefold())
        number = float(value if pieces is None else pieces[1])
    except ValueError:
        return None
    return number > 0 if math.isfinite(number) else None


# --- links and photos' paths --------------------------------------------------------------------

_LINK = r"(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//"
_BEFORE_LINK = re.compile(rf"[\s,;|^~\"']+(?={_LINK})|#(?=https?://)")
_PATHS = re.compile(r"\s*[,;|\n\t]\s*")
_PHOTO_NAME = re.compile(
    r"\.(?:jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif|jp2|ppm|heic|heif|svg|jxl|tga|psd)$", re.I
)
_IN_QUOTES = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_PHOTO_KEYS = ("path", "src", "url", "href", "link", "file", "filename", "file_name", "image")
"""What an object that is a photo calls its path or address."""
_MAX_VALUE_CHARS = 100_000


def parse_value(text: str) -> Any:
    """Return the value that a text is in JSON, or, of objects and lists of them, in Python.

    Raises:
        ValueError: it is neither.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        try:
            # Lists of texts are left alone: NumPy writes them without commas, which Python joins.
            if not ({"{", "("} & set(text[:2])) or len(text) > _MAX_VALUE_CHARS:
                raise ValueError from None
            return ast.literal_eval(text)
        except (SyntaxError, RecursionError, MemoryError):
            raise ValueError from None


def photo_of(value: Mapping[str, Any]) -> str | None:
    """Return the path or address in an object that is a photo, ``{"src": ..., "alt": ...}``."""
    told = (value[name] for name in _PHOTO_KEYS if name in value)
    return next((text for text in told if isinstance(text, str) and text), None)


def split_links(text: str) -> list[str]:
    """Return the links, or paths of photos, that one text holds, in its order.

    Links are parted by commas, semicolons, bars or white space, wherever the next one begins: a
    comma inside one stays in it. Paths are parted where every part names a photo. A list as JSON,
    Python or PostgreSQL writes it is read as well, of texts or of objects with a path or address.
    """
    text = text.strip()
    if "//" in text or _PHOTO_NAME.search(text.strip(" \t\r\n,;|")):
        text = text.strip(" \t\r\n,;|")
    if text[:1] + text[-1:] in ("[]", "{}") and (told := _listed(text)) is not None:
        return told
    if re.match(_LINK, text.lstrip("\"'")):
        parts = _BEFORE_LINK.split(text)
        return [link for part in parts if (link := part.strip(" \t\r\n,;|\"'"))]
    parts = [bare for part in _PATHS.split(text) if (bare := part.strip("\"' "))]
    if all(_PHOTO_NAME.search(part) or re.match(_LINK, part) for part in parts):
        return parts
    return [text] if text else []


def _listed(text: str) -> list[str] | None:
    """Return what a text in brackets lists, None where it is no list."""
    try:
        told = parse_value(text)
    except ValueError:
        told = [one or other for one, other in _IN_QUOTES.findall(text)] or split_links(text[1:-1])
        if told == [text[1:-1].strip()]:  # no list: brackets of its name
            return None
    if isinstance(told, Mapping):
        whole = photo_of(told)
        told = [whole] if whole is not None else list(told.values())
    parts = [photo_of(part) if isinstance(part, Mapping) else part for part in told or ()]
    known = [part for part in parts if part is not None]
    if not all(isinstance(part, str) for part in known):
        return None
    return [bare for part in known if (bare := part.strip())]


def links(value: Any) -> list[str]:
    """Return the links of a cell that holds a list of them, one text, or nothing; each once."""
    value = plain_value(value)
    if isinstance(value, str):
        found = split_links(value)
    elif isinstance(value, list):
        found = [link for part in value for link in links(part)]
    elif isinstance(value, Mapping):
        found = [link for link in (photo_of(value),) if link is not None]
    else:
        found = []
    known = (link.replace("&amp;", "&") for link in found)
    return list(dict.fromkeys(f"https:{link}" if link[:2] == "//" else link for link in known))


# --- text ---------------------------------------------------------------------------------------

_TAGS = re.compile(
    r"<!--.{0,2000}?-->|<(?:script|style)\b[^>]{0,500}>.{0,20000}?</(?:script|style)\s*>|"
    r"</?(?:a|abbr|address|article|aside|b|big|blockquote|body|br|button|caption|center|cite|code|"
    r"col|dd|del|details|div|dl|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|"
    r"i|iframe|img|input|ins|label|li|link|main|mark|meta|nav|nobr|ol|option|p|picture|pre|q|s|samp|"
    r"section|select|small|source|span|strike|strong|sub|summary|sup|svg|table|tbody|td|tfoot|th|"
    r"thead|title|tr|tt|u|ul|var|video|wbr|[a-z]{1,2}:[a-z]+)\b(?:\s[^<>]{0,2000})?/?>|"
    r"<!\[CDATA\[|\]\]>",
    re.IGNORECASE | re.DOTALL,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_MARKED = re.compile(r"[<&]")


def plain_text(text: str) -> str:
    """Return text without HTML: tags become spaces, entities (also those escaped twice) characters.

    What is no tag of HTML stays: ``size < 5``, ``Mug <blue>``. Text without either is unchanged.
    """
    if not _MARKED.search(text):
        return text
    result = text
    for _ in range(3):
        before = result
        result = _ENTITY.sub(lambda found: html.unescape(found.group()), _TAGS.sub(" ", result))
        if result == before:
            break
    return result if result == text else " ".join(result.split())
