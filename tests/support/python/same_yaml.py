"""Reads pairs from stdin and says of each whether PyYAML takes the second text for the value of the first.

A pair is {"yaml": ours, "value": JSON} or {"yaml": ours, "original": text}. The answer is a list of "same",
"original unreadable", or what is wrong.
"""

import json
import sys

import yaml

LOADERS = (yaml.SafeLoader, yaml.CSafeLoader)


def exact(value):
    """The value with its types: True is not 1, 1 is not 1.0, nan is nan, order of keys does not matter."""
    if isinstance(value, dict):
        return ("dict", sorted((repr(exact(k)), exact(v)) for k, v in value.items()))
    if isinstance(value, list):
        return ("list", [exact(v) for v in value])
    return (type(value).__name__, repr(value))


def load(text, loader):
    return exact(yaml.load(text, Loader=loader))


def judge(pair, loader):
    if "value" in pair:
        wanted = exact(pair["value"])
    else:
        try:
            wanted = load(pair["original"], loader)
        except Exception:
            return "original unreadable"
    try:
        got = load(pair["yaml"], loader)
    except Exception as error:
        return f"{loader.__name__} cannot read it: {error}"
    return "same" if got == wanted else f"{loader.__name__}: {got} is not {wanted}"


def verdict(pair):
    verdicts = [judge(pair, loader) for loader in LOADERS]
    wrong = [v for v in verdicts if v not in ("same", "original unreadable")]
    return (wrong or verdicts)[0]


json.dump([verdict(pair) for pair in json.load(sys.stdin)], sys.stdout)
