"""Rendering of an operator's parameters, after which its requests are still those that the author wrote."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.errors import ParameterError

if TYPE_CHECKING:
    from airflow_provider_apitask.core.api import Api

__all__ = ["RendersRequests"]


class RendersRequests:
    """Mixin of operators that compares their rendered parameters with the templates.

    It sees the templates at the moment they are rendered: what code of a subclass sets later is the author's.
    """

    #: Why the rendered parameters are refused, raised when the task runs.
    _refused: ParameterError | None = None
    #: Endpoints that a template has made an absolute URL, by parameter.
    _absolute: Mapping[str, str] = {}

    def check_reach(self, api: Api) -> None:
        """Refuse rendered requests that lead out of what the author wrote.

        :raises ParameterError: naming the parameter.
        """
        if self._refused is not None:
            raise self._refused
        for parameter, url in self._absolute.items():
            api.keep_below(url, parameter)

    def compare(self, written: Mapping[str, Any], rendered: Mapping[str, Any]) -> None:
        """Keep what is to be refused, by parameters as they were written and as they are rendered."""
        from airflow_provider_apitask.core.written import check_rendered

        try:
            self._absolute = {**self._absolute, **dict(check_rendered(written, rendered))}
        except ParameterError as error:
            self._refused = error

    # Airflow calls it for plain and for mapped tasks, whose other entry point is not called.
    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        super_: Any = super()
        if parent is not self:
            super_._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            return
        upstream = _of_upstream(self, template_fields, context, seen_oids)
        # What an upstream task returned is complete: braces in it are not a template.
        own = [name for name in template_fields if name not in upstream]
        written = {name: getattr(self, name) for name in own}
        super_._do_render_template_fields(parent, own, context, jinja_env, seen_oids)
        names = {*template_fields, "body_format"}
        self.compare(written, {name: getattr(self, name) for name in names if hasattr(self, name)})


def _of_upstream(
    task: Any, names: Iterable[str], context: Any, seen_oids: Collection[int]
) -> Collection[str]:
    """Names of parameters that a mapped task has from an upstream task, not from the DAG file.

    :param seen_oids: of objects that Airflow has resolved, but for literal texts in ``expand_kwargs``.
    """
    dag = task.get_dag()
    mapped: Any = dag.task_dict.get(task.task_id) if dag is not None else None
    values = getattr(getattr(mapped, "expand_input", None), "value", None)
    if values is None:
        return ()
    if isinstance(values, Mapping):
        # expand(): by name, each a literal list or dict, or an XComArg.
        return {name for name, value in values.items() if not isinstance(value, (Sequence, Mapping))}
    # expand_kwargs(): a list of literal dicts or XComArgs, or an XComArg.
    item = values[context["ti"].map_index] if isinstance(values, Sequence) else None
    literal = {*mapped.partial_kwargs, *(item if isinstance(item, Mapping) else ())}
    owners = (dag, mapped.task_group)
    defaults = {name for owner in owners for name in getattr(owner, "default_args", None) or ()}
    return {
        name
        for name in names
        if name not in literal and not (name in defaults and id(getattr(task, name)) not in seen_oids)
    }
