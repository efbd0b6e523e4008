"""The real quilt3 client, driven by TestQuilt3: a command a line, and an answer, both in JSON.

What quilt3 itself prints goes to stderr.
"""

import json
import sys

import quilt3
from quilt3.packages import Package, PackageEntry
from quilt3.util import PhysicalKey


def describe(p):
    return {
        "top": p.top_hash,
        "meta": p.meta,
        "files": {key: entry.size for key, entry in p.walk()},
    }


def read(registry, name, top, dest):
    """Browses, fetches and verifies a package, and installs it as a person would."""
    p = Package.browse(name, registry=registry, top_hash=top)
    p.fetch(dest)
    answer = describe(p)
    answer["verified"] = bool(p.verify(dest))
    Package.install(name, registry=registry, top_hash=top, dest=dest + "-installed")
    answer["packages"] = list(quilt3.list_packages(registry))
    answer["versions"] = [[stamp, h] for stamp, h in quilt3.list_package_versions(name, registry)]
    return answer


def push(registry, name, dir, meta):
    """Pushes a folder."""
    p = Package()
    p.set_dir("/", dir, meta=meta)
    return describe(p.push(name, registry, message="from quilt3", force=True))


def old(registry, name, key, uri, size, sha256):
    """Writes a package with a hash of the time before quilt3 6, as T4 did."""
    p = Package()
    p.set(key, PackageEntry(PhysicalKey.from_url(uri), size, {"type": "SHA256", "value": sha256}, {"user_meta": {"a": 1}}))
    p.build(name, registry, message=None)
    return describe(p)


answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    command = json.loads(line)
    answer = {"read": read, "push": push, "old": old}[command.pop("do")](**command)
    print(json.dumps(answer), file=answers, flush=True)
