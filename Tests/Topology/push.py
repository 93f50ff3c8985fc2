"""A controller as small as can be: it computes digests by the definition in the API's description, with hashlib and
json alone, and pushes."""

import hashlib
import json


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def digest(resources):
    """Of resources by path, written without fields that have their defaults."""
    lines = (f"{sha256(json.dumps(body, sort_keys=True, separators=(',', ':')).encode())}  {path}\n"
             for path, body in sorted(resources.items()))
    return sha256("".join(lines).encode())


def head(resources, generation, epoch=1, controller="fleet1"):
    return {"controller": controller, "epoch": epoch, "generation": generation, "digest": digest(resources)}


def complete(resources, generation, **options):
    return {**head(resources, generation, **options),
            "resources": [{"path": path, "body": body} for path, body in resources.items()]}


def innermost_first(path):
    return "/macs/" not in path, path.count("/") == 3


def delta(old, new, generation, **options):
    """From generation - 1."""
    base = head(old, generation - 1, **options)
    gone = sorted((path for path in old if path not in new), key=innermost_first)
    operations = [{"method": "DELETE", "path": path} for path in gone]
    operations += [{"method": "PUT", "path": path, "body": body} for path, body in new.items()
                   if old.get(path) != body]
    del base["controller"]
    return {**head(new, generation, **options), "base": base, "operations": operations}
