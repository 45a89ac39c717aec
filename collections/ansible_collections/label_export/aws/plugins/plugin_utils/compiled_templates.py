"""Has Ansible compile each Jinja template once, instead of each time that a task or a variable uses it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import wraps
from importlib import import_module
from types import CodeType
from typing import Any

from jinja2 import TemplateSyntaxError

# Private names in ansible-core from 2.19 on.
TEMPLATING = "ansible._internal._templating._jinja_bits"


def keep_compiled_templates() -> None:
    """Let ansible-core's environment of Jinja keep the code that it compiles. The code does not depend on variables.

    Raises:
        AttributeError, ImportError: this version of ansible-core has other names.
    """
    templating = import_module(TEMPLATING)
    environment, context = templating.AnsibleEnvironment, templating._TemplateCompileContext
    compile_template, current = environment.compile, context.current
    kept: dict[tuple[str, bool | None], CodeType] = {}

    @wraps(compile_template)
    def compile_once(self: Any, source: Any, *arguments: Any, **options: Any) -> Any:
        # Others are compiled each time: parsed expressions, templates of files, and those with their own delimiters.
        if arguments or options or self.overlayed or not isinstance(source, str):
            return compile_template(self, source, *arguments, **options)
        compiling = current(optional=True)
        key = str(source), compiling and compiling.escape_backslashes
        if key not in kept:
            kept[key] = compile_template(self, source)
        return kept[key]

    environment.compile = compile_once


def compile_templates(values: Iterable[Any]) -> None:
    """Compile the templates in values of variables, for the processes that inherit them.

    Raises:
        AttributeError, ImportError: this version of ansible-core has other names.
    """
    templating = import_module(TEMPLATING)
    environment = templating.AnsibleEnvironment()
    with templating._TemplateCompileContext(escape_backslashes=True):
        for text in texts(values):
            with suppress(TemplateSyntaxError):  # The task that uses it reports it.
                environment.compile(text)


def texts(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts in values, and in collections among them, that can be templates."""
    for value in values:
        if isinstance(value, str):
            if "{{" in value or "{%" in value:
                yield value
        elif isinstance(value, Mapping):
            yield from texts(value.values())
        elif isinstance(value, list | tuple):
            yield from texts(value)
