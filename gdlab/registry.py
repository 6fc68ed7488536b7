"""Names to factories: what `objective=himmelblau` or a user's `@gdlab.register.objective` means.

A factory is a function with typed, defaulted keyword arguments; its signature is the list of
keys that a configuration may give. Knows no jax: factories are imported when they are asked for.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from gdlab.errors import UsageError, blamed, suggest

F = TypeVar("F", bound=Callable[..., Any])

# kind -> the module whose import registers gdlab's own.
ROOMS = {
    "objective": "gdlab.objectives",
    "init": "gdlab.inits",
    "schedule": "gdlab.schedules",
    "method": "gdlab.methods",
    "probe": "gdlab.probes",
}

# kind -> what its factories make, in words.
MAKES = {
    "objective": "a gdlab.Objective",
    "init": "a function draw(objective, rng)",
    "schedule": "a gdlab.Schedule",
    "method": "a gdlab.Method",
    "probe": "a function",
}
# What optax has and gdlab has not: kind -> name -> the reason.
_FLAT = "x is one flat vector"
REFUSED: dict[str, dict[str, str]] = {
    "method": {
        "optax/muon": f"orthogonalises matrices, and {_FLAT}, which optax would give to adam",
        "optax/galore": f"projects the gradients of matrices, and {_FLAT}",
        "optax/dpsgd": "clips the gradient of each example; an objective here has one gradient",
        "optax/optimistic_adam": "optax has given it up; take optax/optimistic_adam_v2",
        "optax/lookahead": "descends with fast and slow parameters; a descent here has one x",
    },
    "schedule": {
        "optax/join_schedules": "takes functions, which a configuration cannot hold",
    },
}
_factories: dict[str, dict[str, Callable[..., Any]]] = {kind: {} for kind in ROOMS}


def _decorator(kind: str) -> Callable[[F], F]:
    def add(factory: F) -> F:
        """Registers the factory; what it returns checks its arguments as a configuration's are."""
        name = factory.__name__
        before = _factories[kind].get(name)
        if before is not None and before.__module__ != factory.__module__:
            raise UsageError(
                f"{kind}={name} of {factory.__module__} is already the name of one in "
                f"{before.__module__}; rename the new one"
            )
        _factories[kind][name] = factory
        return factory if kind == "probe" else _checked(kind, factory)

    add.__name__ = kind
    add.__doc__ = f"Register a factory, by its function name, as a choice of `{kind}=`."
    return add


def described(
    factory: Callable[..., Any],
    name: str,
    module: str,
    keys: Mapping[str, inspect.Parameter],
    words: str,
) -> Callable[..., Any]:
    """A factory as if it had been written with this name, these keys and this docstring."""
    factory.__name__, factory.__module__, factory.__doc__ = name, module, words
    factory.__signature__ = inspect.Signature(list(keys.values()))  # type: ignore[attr-defined]
    factory.__annotations__ = {key: p.annotation for key, p in keys.items()}
    return factory


def _checked(kind: str, factory: F) -> F:
    """The factory for calls from Python: it refuses what a command line refuses, in its words.

    An array counts as the list of its numbers.
    """

    @functools.wraps(factory)
    def call(*args: Any, **kwargs: Any) -> Any:
        name = factory.__name__
        keys = keys_of(factory)
        if len(args) > len(keys):
            raise UsageError(f"{kind}={name}: takes {len(keys)} arguments, got {len(args)}")
        given = dict(zip(keys, args, strict=False))
        for key, value in kwargs.items():
            if key in given:
                raise UsageError(f"{kind}.{key}={value}: is given twice")
            given[key] = value
        listed = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in given.items()}
        resolved = _resolved(kind, name, factory, listed)
        try:
            return factory(**resolved)
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(f"{kind}={name}: {error}") from error

    return cast(F, call)


objective = _decorator("objective")
init = _decorator("init")
schedule = _decorator("schedule")
method = _decorator("method")
probe = _decorator("probe")


def factories(kind: str) -> Mapping[str, Callable[..., Any]]:
    """Every registered factory of a kind, gdlab's own included."""
    importlib.import_module(ROOMS[kind])
    return _factories[kind]


def imported(kind: str) -> Mapping[str, Callable[..., Any]]:
    """Those registered so far, without importing gdlab's own."""
    return _factories[kind]


def keys_of(factory: Callable[..., Any]) -> list[str]:
    """The keys that a configuration of this factory may give."""
    return list(_signature(factory)[0])


def resolve(
    kind: str, name: str, params: Mapping[str, Any], context: tuple[str, ...] = ()
) -> dict[str, Any]:
    """All parameters of the factory `name`: those given, checked and converted, and its defaults.

    Args:
        params: keys and values as a configuration gives them.
        context: parameters that the caller supplies and a configuration may not.

    Raises:
        UsageError: unknown name or key (with the nearest ones), or a value of the wrong type.
    """
    known = factories(kind)
    if name not in known:
        raise UsageError(f"{kind}={name}: no such {kind}; {suggest(name, list(known))}")
    return _resolved(kind, name, known[name], params, context)


def _resolved(
    kind: str,
    name: str,
    factory: Callable[..., Any],
    params: Mapping[str, Any],
    context: tuple[str, ...] = (),
) -> dict[str, Any]:
    with blamed(f"{kind}={name}"):  # a type hint may name what is not there
        parameters, hints = _signature(factory)
    keys = [key for key in parameters if key not in context]
    for key, value in params.items():
        if key not in keys:
            raise UsageError(f"{kind}.{key}={value}: {name} has no such key; {suggest(key, keys)}")
    resolved = {}
    for key in keys:
        if key in params and not _is_missing(params[key]):
            resolved[key] = check(f"{kind}.{key}", params[key], hints.get(key, Any))
        elif parameters[key].default is inspect.Parameter.empty:
            raise UsageError(f"{kind}.{key} is missing: {name} takes {_words(hints.get(key))}")
        else:
            resolved[key] = parameters[key].default
    return resolved


def build(kind: str, name: str, params: Mapping[str, Any], **context: Any) -> Any:
    """Calls the factory `name` of `kind` with `params`, checked against its signature.

    Args:
        context: keyword arguments that the caller supplies; passed only to factories that have a
            parameter of that name.

    Raises:
        UsageError: as `resolve`; the factory refuses a value, raises whatever it may, or makes
            something else than its kind.
    """
    resolved = resolve(kind, name, params, tuple(context))
    factory = factories(kind)[name]
    parameters, _ = _signature(factory)
    given = {key: value for key, value in context.items() if key in parameters}
    with blamed(f"{kind}={name}"):
        made = factory(**resolved, **given)
    if not _is_made(kind, made):
        raise UsageError(
            f"{kind}={name}: makes {type(made).__name__}; {kind} takes {MAKES[kind]}; mend "
            f"{factory.__name__} in {factory.__module__}"
        )
    return made


def check(key: str, value: Any, hint: Any) -> Any:
    """`value` as the type `hint`; raises a `UsageError` that names the key and what it takes."""
    try:
        found = _adapter(hint).validate_python(value)
    except ValidationError as error:
        takes = "; ".join(dict.fromkeys(item["msg"] for item in error.errors()))
        takes = takes.replace("Input should be", "takes").replace(
            ", unable to parse string as a number", ""
        )
        raise UsageError(f"{key}={value}: {takes}") from None
    if _became_a_number(value, found):
        raise UsageError(f"{key}={value}: takes a number, not true or false")
    return found


def _became_a_number(given: Any, found: Any) -> bool:
    """Whether True was taken for 1, alone or in a list."""
    if isinstance(given, list | tuple) and isinstance(found, list | tuple):
        return any(_became_a_number(a, b) for a, b in zip(given, found, strict=False))
    return isinstance(given, bool) and isinstance(found, int | float) and found is not given


@functools.lru_cache
def _signature(
    factory: Callable[..., Any],
) -> tuple[Mapping[str, inspect.Parameter], dict[str, Any]]:
    return inspect.signature(factory).parameters, get_type_hints(factory)


@functools.lru_cache(maxsize=512)
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def _is_made(kind: str, made: Any) -> bool:
    from gdlab import types  # brings optax: not for those who only list

    kinds = {"objective": types.Objective, "schedule": types.Schedule, "method": types.Method}
    return isinstance(made, kinds[kind]) if kind in kinds else callable(made)


def _is_missing(value: Any) -> bool:
    return isinstance(value, str) and value == "???"  # YAML's mark of a key without default


def _words(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint).replace("typing.", "")
