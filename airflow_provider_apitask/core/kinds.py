"""What parameters take. To a type checker each is ``Any``: Jinja renders it later, and it is checked then.

The reference shows the text of a kind as the parameter's type.
"""

from __future__ import annotations

from typing import Annotated, Any

__all__ = [
    "Body",
    "Codes",
    "Condition",
    "Count",
    "Flag",
    "Number",
    "OneOrMore",
    "Pairs",
    "Reasons",
    "RequestLike",
    "Seconds",
    "Text",
    "Timeout",
    "Value",
    "Values",
    "Words",
]

Body = Annotated[Any, "what body_format takes"]
Codes = Annotated[Any, 'code, text such as "5xx", or a list']
Condition = Annotated[Any, "dict, or a list of dicts"]
Count = Annotated[Any, "int"]
Flag = Annotated[Any, "bool"]
Number = Annotated[Any, "number"]
OneOrMore = Annotated[Any, "str, or a list"]
Pairs = Annotated[Any, "dict"]
Reasons = Annotated[Any, "list of str"]
RequestLike = Annotated[Any, "str, dict or RequestSpec"]
Seconds = Annotated[Any, "seconds"]
Text = Annotated[Any, "str"]
Timeout = Annotated[Any, "seconds, or (connect, read)"]
Value = Annotated[Any, "any JSON value"]
Values = Annotated[Any, "list"]
Words = Annotated[Any, "str or bool, or a list"]
