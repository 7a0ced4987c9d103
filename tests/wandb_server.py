"""A stand-in for W&B's server, which takes runs, workspaces and reports and remembers them."""

import gzip
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What was sent, and how to behave."""

    url: str = ""
    mode: str = "works"
    """Or `refuses`: every key; or `hangs`: takes requests and never answers."""
    rows: dict = field(default_factory=dict)
    """By id of the run, the rows of its history by their place in it."""
    begun: list = field(default_factory=list)
    """The variables of every run that was begun or continued."""
    views: list = field(default_factory=list)
    """The variables of every workspace and report that was saved."""
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, query, variables):
        """What GraphQL gets: much of the real server's, made up, and errors for the rest."""
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)[1]
        project = {"id": "p", "name": "devias", "entity": {"id": "e", "name": "me"}}
        if name == "RunResumeStatus":
            return {"model": project | {"bucket": self._state(variables["name"])}}
        if name == "UpsertBucket":
            self.begun.append(variables)
            bucket = {"id": "x", "name": variables["name"], "displayName": "", "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if name.lower().startswith("upsertview"):
            self.views.append(variables)
            view = {"id": f"v{len(self.views)}", "name": variables["name"], "type": "runs"}
            view |= {"displayName": variables["displayName"], "description": ""}
            view |= {"spec": variables["spec"], "updatedAt": "2030-01-01T00:00:00Z"}
            view |= {"project": {"id": "p", "name": "devias", "entityName": "me"}}
            return {"upsertView": {"view": view, "inserted": True}}
        if name == "GetProjects":
            made = {"createdAt": "2030-01-01T00:00:00Z", "isBenchmark": False, "user": None}
            node = {"id": "p", "name": "devias", "entityName": "me"} | made
            page = {"endCursor": None, "hasNextPage": False}
            return {"models": {"pageInfo": page, "edges": [{"node": node}]}}
        if name in ("Viewer", "GetViewer", "GetDefaultEntity"):
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}"}}
        return None

    def _state(self, run):
        if run not in self.rows:
            self.rows[run] = {}
            return None
        rows = self.rows[run]
        last = json.dumps([rows[max(rows)]] if rows else [])
        state = {"id": "x", "name": run, "historyLineCount": len(rows), "historyTail": last}
        state |= {"logLineCount": 0, "eventsLineCount": 0, "eventsTail": "[]", "tags": []}
        return state | {"summaryMetrics": "{}", "config": "{}", "wandbConfig": '{"t": 1}'}


@contextmanager
def wandb_server():
    """The server, at `url` for a while."""
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        http.shutdown()
        http.server_close()


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            """Not on the terminal."""

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if server.mode == "hangs":
                server.over.wait()
            elif server.mode == "refuses":
                self.send({"errors": [{"message": "wrong key"}]}, 401)
            elif "file_stream" in self.path:
                self.take_rows(body)
            else:
                request = json.loads(body)
                data = server.answer(request["query"], request.get("variables") or {})
                errors = {} if data else {"errors": [{"message": "not known here"}]}
                self.send({"data": data} | errors, 200 if data else 400)

        def do_GET(self):
            self.send({})

        def take_rows(self, body):
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            history = (json.loads(body).get("files") or {}).get("wandb-history.jsonl")
            if history:
                rows = server.rows[self.path.split("/")[-2]]
                rows |= dict(enumerate(history["content"], history["offset"]))
            self.send({})

        def send(self, content, code=200):
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
