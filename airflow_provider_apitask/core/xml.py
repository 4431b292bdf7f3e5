"""Reading a value out of an XML answer by XPath 1.0.

The document is read without anything it could bring along: no entities but the five of XML itself, no DTD,
no files, no network, and no more of it than fits.
"""

from __future__ import annotations

import math
import re
from typing import Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.bodies import decode_text
from airflow_provider_apitask.core.errors import AnswerError, ParameterError
from airflow_provider_apitask.core.extraction import Shape
from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.missing import MISSING

__all__ = ["XPath", "XmlDocument", "parse_xml"]

#: Elements and attributes at most, roughly: each takes some 100 bytes of memory for as few as 4 of text.
MAX_NODES = 1_000_000
#: Longest DOCTYPE that is looked through for its end, characters; those of real documents are far shorter.
_LONGEST_DOCTYPE = 4096
_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*\?>")
#: What may stand before the root: comments, processing instructions, a DOCTYPE.
_MISC = re.compile(r"\s+|<!--.*?-->|<\?.*?\?>", re.DOTALL)
_ENTITY = re.compile(r"&(?!(?:lt|gt|amp|quot|apos);)[\w.:-]{1,50};")
_DOCTYPE = re.compile(r"<!DOCTYPE(?:[^\[\]<>\"']|\"[^\"]*\"|'[^']*')*(?P<end>.?)", re.DOTALL)


class XmlDocument:
    """A parsed XML document.

    Its elements in the default namespace have none here, so that a path is written as the document is.

    :param namespaces: prefixes as the document declares them; of one declared twice, the first.
    :param prefixes: the same by namespace; of two prefixes for one, the first.
    """

    __slots__ = ("namespaces", "prefixes", "root")

    def __init__(self, root: Any, namespaces: dict[str, str], prefixes: dict[str, str]) -> None:
        self.root = root
        self.namespaces = namespaces
        self.prefixes = prefixes


def parse_xml(response: Response) -> XmlDocument | None:
    """The body as XML; an empty body is None.

    :raises AnswerError: where it is none, or one that is not read; without a text about the request.
    """
    text = decode_text(response)
    if not text.strip():
        return None
    _refuse_bombs(text)
    from lxml import etree

    parser = etree.XMLPullParser(
        events=("start-ns",),
        encoding="utf-8",  # decoded by the one place that knows about charsets
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        # At the start alone: searched for, each run of spaces in the document would take quadratic time.
        declaration = _DECLARATION.match(text)
        content = text[declaration.end() :] if declaration else text
        parser.feed(content.lstrip().encode("utf-8", "replace"))
        root = parser.close()
    except etree.XMLSyntaxError as error:
        _refuse_entities(text)  # libxml2 does not always say that it was one
        raise AnswerError(f"the body is not XML ({error.msg})") from None
    found: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for _, (prefix, uri) in parser.read_events():
        found.setdefault(prefix or "", uri)
        if prefix:
            prefixes.setdefault(uri, prefix)
    if found.pop("", None):
        for element in root.iter("{*}*"):
            if element.prefix is None:
                element.tag = etree.QName(element).localname
    return XmlDocument(root, found, prefixes)


class XPath:
    """A compiled XPath 1.0.

    An element is its text, or a dict where it has elements in it: names to values, ``@name`` for
    attributes and ``#text``, a list for a name that stands there more than once.

    :raises ParameterError: where it is none.
    """

    __slots__ = ("_text",)

    shape = Shape.VALUE
    selects_items = False

    def __init__(self, text: str) -> None:
        from lxml import etree

        self._text = text
        try:
            etree.XPath(text)
            etree.fromstring("<a/>").xpath(text)  # tells of unknown functions and wrong arguments too
        except (etree.XPathError, ValueError) as error:
            if "namespace prefix" in str(error):
                return  # known when there is a document
            why = f": {error}" if checks.quotes() else "."
            raise ParameterError(f"{checks.shown(text)} is no valid XPath{why}", parameter="path") from None

    def find(self, document: Any) -> Any:
        """The value in an :class:`XmlDocument`: ``MISSING`` for none, a list for several."""
        values = self.find_all(document)
        if not values:
            return MISSING
        return values[0] if len(values) == 1 else values

    def find_all(self, document: Any) -> list[Any]:
        """Each value that it matches in an :class:`XmlDocument`."""
        if not isinstance(document, XmlDocument):
            return []
        from lxml import etree

        try:
            found = document.root.xpath(self._text, namespaces=document.namespaces, smart_strings=False)
        except (etree.XPathError, ValueError):
            # A prefix that this document does not declare, a function of what it does not have: no match.
            return []
        if isinstance(found, bool):
            return [found]
        if isinstance(found, float):
            if not math.isfinite(found):
                return []  # as XPath says "no number"
            return [int(found) if found.is_integer() else found]
        if not isinstance(found, list):
            return [str(found)]
        return [_value(item, document.prefixes) for item in found]


def _value(node: Any, prefixes: dict[str, str]) -> Any:
    if isinstance(node, tuple):  # a namespace: prefix and URI
        return node[1]
    if not hasattr(node, "tag"):
        return str(node)  # a text or an attribute
    if len(node) == 0:
        return (node.text or "").strip()
    found: dict[str, Any] = {f"@{_name(key, prefixes)}": text for key, text in node.attrib.items()}
    text = "".join((node.text or "", *(child.tail or "" for child in node))).strip()
    for child in node:
        name, value = _name(child.tag, prefixes, child.prefix), _value(child, prefixes)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    if text:
        found["#text"] = text
    return found


def _name(tag: str, prefixes: dict[str, str], prefix: str | None = None) -> str:
    """A name with its prefix, that of the element itself where it is known.

    Not from the ``nsmap`` of lxml, which is made anew of all the declarations above for each name.
    """
    uri, brace, local = tag.rpartition("}")
    if not brace:
        return tag
    prefix = prefix or prefixes.get(uri[1:])
    return f"{prefix}:{local}" if prefix else local


def _refuse_bombs(text: str) -> None:
    if text.count("<") + text.count("=") > MAX_NODES:
        raise AnswerError(f"the body is XML of more than {MAX_NODES} elements and attributes")
    position = 0
    while match := _MISC.match(text, position):
        position = match.end()
    # The pattern keeps each character in mind, some hundred bytes of memory for one.
    doctype = _DOCTYPE.match(text, position, position + _LONGEST_DOCTYPE)
    if doctype and doctype["end"] != ">":
        # Entities are declared nowhere else; without them, a DOCTYPE is a mere name.
        raise AnswerError("the body is XML with a DTD of its own, which can declare entities and is not read")
    if doctype:
        # They may be declared in the DTD that it names, which is not fetched: their text would be missing.
        _refuse_entities(text)


def _refuse_entities(text: str) -> None:
    if found := _ENTITY.search(text):
        raise AnswerError(f"the body is XML with the entity {found[0]}, which is not read")
