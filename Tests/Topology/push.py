"""A controller as small as can be: it computes digests by the definition in the API's description, with hashlib and
json alone, and pushes."""

import collections
import hashlib
import json


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def sum_of_lines(digests):
    return sha256("".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items())).encode())


def digest(resources):
    """Of resources by path, written without fields that have their defaults: a line for each bridge, whose digest is
    that of a line for each resource that belongs to it."""
    bridges = collections.defaultdict(dict)
    for path, body in resources.items():
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        bridges["/".join(path.split("/")[:4])][path] = sha256(text.encode())
    return sum_of_lines({bridge: sum_of_lines(digests) for bridge, digests in bridges.items()})


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
