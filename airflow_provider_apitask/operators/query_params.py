"""``params`` of an operator as query parameters, where Airflow has another use for that name.

Airflow merges the params of a DAG into whatever a task is given under this name; as query
parameters they would all be sent to the API. So the name is taken before Airflow sees it, and
``{{ params.x }}`` goes on giving the DAG's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import OperatorPartial
from airflow.sdk.definitions.param import ParamsDict

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.operators.parameters import check_parameters

__all__ = ["CallPartial", "TakesQueryParams", "renamed"]


class TakesQueryParams(type(BaseOperator)):  # type: ignore[misc]  # a base that is only known at run time
    """Metaclass of operators whose ``params`` are query parameters, for subclasses too."""

    def __new__(cls, name: str, bases: Any, namespace: Any, **kwargs: Any) -> Any:
        """Make the class, its constructor wrapped once more where it has one of its own."""
        made = super().__new__(cls, name, bases, namespace, **kwargs)
        if "__init__" in namespace:
            made.__init__ = _renaming(made.__init__)
        return made


def renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments with ``params`` under the name ``query_params``.

    :raises ParameterError: where both are given.
    """
    if "params" not in given:
        return dict(given)
    rest = {name: value for name, value in given.items() if name != "params"}
    if given["params"] is None:
        return rest
    if rest.get("query_params") is not None:
        raise ParameterError(
            "params and query_params are the same and cannot both be given.", parameter="params"
        )
    return {**rest, "query_params": given["params"]}


def _renaming(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor that Airflow has wrapped already."""

    @wraps(init)
    def taking_params(self: Any, *args: Any, **kwargs: Any) -> None:
        params = kwargs.get("params")
        if isinstance(params, ParamsDict):
            _refuse_mapped(params, from_mapped="_airflow_from_mapped" in kwargs)
        else:
            kwargs = renamed(kwargs)
        # A mapped task is made while it runs, with what an upstream gave.
        with checks.unquoted("_airflow_from_mapped" in kwargs):
            init(self, *args, **kwargs)

    # Airflow finds out by this attribute which constructor of a hierarchy is the outermost.
    taking_params.__wrapped__ = init.__wrapped__  # type: ignore[attr-defined]
    return taking_params


def _refuse_mapped(params: ParamsDict, *, from_mapped: bool) -> None:
    """``expand_kwargs`` of an upstream's output is seen only now, when Airflow has merged it."""
    unknown = [name for name in params if params.get_param(name).source is None] if from_mapped else []
    if unknown:
        raise ParameterError(
            f"params ({', '.join(unknown)}) cannot be mapped over an upstream's output under this name: call "
            "them query_params there.",
            parameter="params",
        )


class CallPartial(OperatorPartial):
    """What ``ApiCallOperator.partial`` returns: checks a mapped task when the DAG is parsed."""

    @classmethod
    def of(cls, partial: OperatorPartial) -> CallPartial:
        """Take over what Airflow has made."""
        partial._expand_called = True
        return cls(operator_class=partial.operator_class, kwargs=partial.kwargs, params=partial.params)

    def expand(self, **mapped_kwargs: Any) -> Any:
        """Map over ``mapped_kwargs``; ``params`` are query parameters."""
        self._expand_called = True  # an error is not to be followed by a warning that it was never mapped
        mapped = renamed(mapped_kwargs)
        self._check(mapped)
        if isinstance(jobs := mapped.get("job"), (list, tuple)):
            mapped["job"] = [AsyncJob.as_template(job) for job in jobs]
        return super().expand(**mapped)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """Map over dicts of keyword arguments; ``params`` are query parameters where they are literal."""
        self._expand_called = True
        if isinstance(kwargs, Sequence):
            kwargs = [renamed(item) if isinstance(item, Mapping) else item for item in kwargs]
            for item in kwargs:
                self._check(item if isinstance(item, Mapping) else None)
        else:
            self._check(None)
        return super().expand_kwargs(kwargs, strict=strict)

    def _check(self, mapped: Mapping[str, Any] | None) -> None:
        """Check what the mapped tasks share.

        :param mapped: what differs between them; None where that is not known at all.
        """
        base = _defining(self.operator_class)
        names = _parameters(base)
        later = (self._inherited() | set(mapped or ())) - set(self.kwargs)
        if mapped is None or self.operator_class.__init__ is not base.__init__:
            later |= names
        check_parameters({name: value for name, value in self.kwargs.items() if name in names}, later)

    def _inherited(self) -> set[str]:
        """Names that the mapped tasks may take from ``default_args``."""
        owners = (self.kwargs.get("dag"), self.kwargs.get("task_group"))
        return {name for owner in owners for name in (getattr(owner, "default_args", None) or {})}


def _defining(cls: type[Any]) -> type[Any]:
    """The operator that ``cls`` is, or is derived from: the one whose parameters are checked."""
    return [kind for kind in cls.__mro__ if isinstance(kind, TakesQueryParams)][-1]


def _parameters(cls: type[Any]) -> set[str]:
    kinds = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return {p.name for p in signature(cls.__init__).parameters.values() if p.kind in kinds} - {"self"}
