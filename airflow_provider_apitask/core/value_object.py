"""What an author gives as an object, or as a plain dict with the same fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import compile_path

__all__ = ["ValueObject", "compile_paths"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ValueObject:
    """A frozen dataclass that is read from a dict (YAML has no objects) and written as one.

    Subclasses are dataclasses with ``repr=False``, as the ``repr`` here masks what is secret. They check
    their fields in ``__post_init__``, or in :meth:`checked` where an error needs the parameter's name.
    """

    #: The parameter that errors name where the caller names none.
    _parameter: ClassVar[str] = ""
    #: Another way to write it, for the error: "an endpoint" is one.
    _forms: ClassVar[str] = ""
    #: The field that a text alone gives; None where a text will not do.
    _text_field: ClassVar[str | None] = None
    #: Whether None is an object of defaults.
    _none_is_default: ClassVar[bool] = False

    def __repr__(self) -> str:
        # The redaction is read only where somebody looks.
        from airflow_provider_apitask.core.showing import shown_as_given

        return shown_as_given(self)

    @classmethod
    def parse(cls, value: Any, parameter: str = "") -> Self:
        """Read it from an object of this class or a dict with its fields.

        :param parameter: what errors call it, such as ``job.reconcile``.
        :raises ParameterError: naming the field and what is allowed.
        """
        parameter = parameter or cls._parameter
        if isinstance(value, cls):
            return value.checked(parameter)
        if value is None and cls._none_is_default:
            return cls()
        if isinstance(value, str) and cls._text_field is not None:
            value = {cls._text_field: value}
        if not isinstance(value, Mapping):
            forms = cls._forms or f"a {cls.__name__} or a dict"
            if callable(value) and (name := getattr(value, "__name__", None)):
                raise ParameterError(
                    f"{parameter} must be {forms}, and {name} was not called: write {name}(…).",
                    parameter=parameter,
                )
            raise ParameterError(
                f"{parameter} must be {forms}, not {type(value).__name__}.", parameter=parameter
            )
        checks.known_keys(value, parameter, (field.name for field in fields(cls)))
        return cls._of({str(name): item for name, item in value.items()}, parameter)

    @classmethod
    def _of(cls, given: dict[str, Any], parameter: str) -> Self:
        """The object of these fields, all of them known."""
        build: Callable[..., Self] = cls
        return build(**given).checked(parameter)

    @classmethod
    def as_template(cls, value: Any, parameter: str = "") -> Any:
        """Return it as the plain dict that Jinja can render, checked; None as None.

        :raises ParameterError: as :meth:`parse`.
        """
        if value is None or (not isinstance(value, cls) and checks.is_open(value)):
            return value
        return cls.parse(value, parameter).to_dict()

    def checked(self, parameter: str = "") -> Self:
        """Return it with its values normalised, where making it has not done that already.

        :raises ParameterError: naming the field and what is allowed.
        """
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as JSON."""
        return {
            field.name: self._as_json(field.name, value)
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    def _as_json(self, name: str, value: Any) -> Any:
        """A field as it stands in :meth:`to_dict`."""
        return value.to_dict() if isinstance(value, ValueObject) else value

    def _take_defaults(self) -> None:
        """Give each field that is None its default: YAML has "nothing" for it."""
        for field in fields(self):
            if getattr(self, field.name) is None and field.default is not None:
                object.__setattr__(self, field.name, field.default)

    def _set(self, normal: Mapping[str, Any]) -> None:
        """Put normalised values in the place of those given; for ``__post_init__`` alone.

        A list that repeats the default is the default: writing it out must not change anything.
        """
        defaults = {field.name: field.default for field in fields(self)}
        for name, value in normal.items():
            default = defaults[name]
            same = isinstance(value, list) and isinstance(default, tuple) and tuple(value) == default
            object.__setattr__(self, name, default if same else value)


def compile_paths(named: Iterable[tuple[str, Any]]) -> None:
    """Compile every path that is given, so that a wrong one fails before anything is sent.

    :param named: each path with the parameter that holds it; None is no path.
    :raises ParameterError: naming the parameter.
    """
    for parameter, path in named:
        if path is not None:
            try:
                compile_path(path)
            except ParameterError as error:
                raise ParameterError(f"{parameter}: {error.message}", parameter=parameter) from None
