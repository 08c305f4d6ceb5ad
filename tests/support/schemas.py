"""Checks documents against docs/json/*.schema.json: the part of JSON Schema that those use."""
import functools
import json

import scenario

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
         "null": type(None)}
ANNOTATIONS = {"$schema", "title", "description", "type", "properties", "required", "additionalProperties", "items",
               "enum", "oneOf", "contentEncoding"}


@functools.cache
def schema(name):
    path = scenario.SOURCE / "docs" / "json" / f"{name}.schema.json"
    assert path.exists(), f"docs/json describes no {name}"
    return json.loads(path.read_text())


def problem(document, rule, where):
    """What is wrong with the document, or None."""
    assert not rule.keys() - ANNOTATIONS, f"a keyword that this checker does not know: {rule.keys() - ANNOTATIONS}"
    if "oneOf" in rule:
        problems = [problem(document, one, where) for one in rule["oneOf"]]
        good = problems.count(None)
        return None if good == 1 else f"{where} fits {good} of {len(problems)} forms: {problems}"
    kind = TYPES[rule["type"]] if "type" in rule else object
    if not isinstance(document, kind) or (isinstance(document, bool) and kind not in (bool, object)):
        return f"{where} is {document!r}, not {rule['type']}"
    if "enum" in rule and document not in rule["enum"]:
        return f"{where} is {document!r}, not one of {rule['enum']}"
    if isinstance(document, list) and "items" in rule:
        found = (problem(x, rule["items"], f"{where}[{i}]") for i, x in enumerate(document))
        return next(filter(None, found), None)
    if isinstance(document, dict) and "properties" in rule:
        known = rule["properties"]
        missing = [key for key in rule.get("required", ()) if key not in document]
        if missing:
            return f"{where} lacks {missing}"
        unknown = document.keys() - known.keys()
        if unknown and rule.get("additionalProperties") is False:
            return f"{where} has the undocumented {sorted(unknown)}"
        found = (problem(document[key], known[key], f"{where}.{key}") for key in document if key in known)
        return next(filter(None, found), None)
    return None


def check(document, name):
    """The same document, when it has the form docs/json gives under `name`; else AssertionError."""
    wrong = problem(document, schema(name), name)
    assert wrong is None, wrong
    return document
