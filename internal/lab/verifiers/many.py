# Judges many files with docs/verify.py in one process. A signature that was verified once is not verified again: the same key, text and
# signature give the same answer.
import base64
import contextlib
import functools
import importlib.util
import io
import json
import os
import sys

script, folder = sys.argv[1:3]
spec = importlib.util.spec_from_file_location("verify", script)
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)
verify.signed_by = functools.lru_cache(maxsize=None)(verify.signed_by)


def write(name, content):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(content)
    return path


def line(path, original):
    args = ["verify.py", "--key", os.path.join(folder, "key.pem"), path]
    if original["anchors"]:
        args += ["--anchors", write("anchors", base64.b64decode(original["anchors"]))]
    if original["policy"]:
        args += ["--policy", write("policy", original["policy"].encode())]
    verify.STATED.clear()
    sys.argv, out = args, io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            verify.main()
        except SystemExit:
            pass
    return out.getvalue().rstrip("\n")


job, lines = json.load(sys.stdin), []
for f in job["files"]:
    original = job["originals"][f["of"]]
    content = base64.b64decode(original["bytes"])
    for e in f["edits"] or []:
        content = content[:e["at"]] + base64.b64decode(e["new"] or "") + content[e["at"] + e["gone"]:]
    lines.append(line(write("file", content), original))
print(json.dumps(lines))
