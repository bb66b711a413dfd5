# Runs docs/verify.py for each line of arguments, a list in JSON, as python3 does: in a process of its own, with its own exit code. The
# processes are forked from this one, which has started Python, loaded the modules and compiled the script once.
import base64
import json
import os
import sys
import tempfile

script = sys.argv[1]
with open(script, encoding="utf-8") as f:
    code = compile(f.read(), script, "exec")
exec(code, {"__name__": "verify"})
for line in sys.stdin:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as problems:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(problems.fileno(), 2)
            sys.argv = [script] + json.loads(line)
            exec(code, {"__name__": "__main__", "__file__": script})
            sys.exit()
        status = os.waitpid(child, 0)[1]
        ran = {"code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1}
        for name, written in (("out", out), ("problems", problems)):
            written.seek(0)
            ran[name] = base64.b64encode(written.read()).decode()
    print(json.dumps(ran), flush=True)
