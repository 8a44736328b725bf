"""A hub of models on this machine: what huggingface_hub asks of one to make, fill and read it.

Large files go by the LFS protocol ("basic" transfer), which the client takes where
HF_HUB_DISABLE_XET is set.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_tests"
LARGE = (".safetensors", ".onnx")


class FakeHub:
    """Repositories by name: their files, whether they are private, and all that was asked."""

    def __init__(self) -> None:
        """Begins to answer, on a free port."""
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []
        self.large: dict[str, bytes] = {}
        hub = self

        class Handler(_Handler):
            def __init__(self, *given: Any) -> None:
                self.hub = hub
                super().__init__(*given)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()

    def commit_of(self, name: str) -> str:
        """The hash of what a repository holds."""
        files = sorted((path, content.hex()) for path, content in self.files[name].items())
        return hashlib.sha1(json.dumps(files).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{method} {path}")
        self._body = self._take_body()
        for pattern, action in _ROUTES:
            found = re.fullmatch(pattern, f"{method} {path}")
            if found:
                return action(self, *found.groups())
        return self._send(404, {"error": f"the fake hub knows no {method} {path}"})

    def _take_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _may(self, name: str | None = None) -> bool:
        # Everybody may read what is public; answers by itself where it is refused.
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if name is not None and name not in self.hub.files:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return False
        if not known and (name is None or name in self.hub.private):
            self._send(401, {"error": "Invalid username or password."})
            return False
        return True

    def _send(self, code: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _validate(self) -> None:
        text = json.loads(self._body)["content"]
        self._send(200 if text.startswith("---\n") else 400, {"warnings": [], "errors": []})

    def _create(self) -> None:
        if not self._may():
            return
        asked = json.loads(self._body)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != "org":
            return self._send(403, {"error": "You don't have the rights to create a model there"})
        if name in self.hub.files:
            there = {"url": f"{self.hub.address}/{name}"}
            return self._send(409, {"error": "You already created this model repo", **there})
        self.hub.files[name] = {".gitattributes": b"*.onnx filter=lfs\n"}
        if asked.get("visibility") == "private":
            self.hub.private.add(name)
        return self._send(200, {"url": f"{self.hub.address}/{name}"})

    def _tell(self, name: str) -> None:
        if self._may(name):
            told = {"id": name, "sha": self.hub.commit_of(name), "private": False, "tags": []}
            self._send(200, {**told, "siblings": [{"rfilename": p} for p in self.hub.files[name]]})

    def _list(self, name: str) -> None:
        if not self._may(name):
            return
        entries = []
        for path, content in self.hub.files[name].items():
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
            entry["oid"] = hashlib.sha1(content).hexdigest()
            if path.endswith(LARGE):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        self._send(200, entries)

    def _sort(self, name: str) -> None:
        if self._may(name) and self._may():
            asked = [each["path"] for each in json.loads(self._body)["files"]]
            modes = {path: "lfs" if path.endswith(LARGE) else "regular" for path in asked}
            told = [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]
            self._send(200, {"files": told})

    def _take_batch(self, name: str) -> None:
        if self._may(name) and self._may():
            told = [
                {**each, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{each['oid']}"}}}
                for each in json.loads(self._body)["objects"]
            ]
            self._send(200, {"transfer": "basic", "objects": told})

    def _take_large(self, digest: str) -> None:
        if hashlib.sha256(self._body).hexdigest() != digest:
            return self._send(400, {"error": "other bytes than were announced"})
        self.hub.large[digest] = self._body
        return self._send(200, {})

    def _commit(self, name: str) -> None:
        if not (self._may(name) and self._may()):
            return
        files = self.hub.files[name]
        for line in self._body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif step["key"] == "deletedFile":
                del files[value["path"]]
        oid = self.hub.commit_of(name)
        told = {
            "success": True,
            "commitOid": oid,
            "commitUrl": f"{self.hub.address}/{name}/commit/{oid}",
        }
        self._send(200, told)

    def _read(self, name: str, path: str) -> None:
        if not self._may(name):
            return
        content = self.hub.files[name].get(path)
        if content is None:
            return self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.commit_of(name)}
        return self._send(200, content, headers)


_ROUTES = [
    (r"POST /api/validate-yaml", _Handler._validate),
    (r"POST /api/repos/create", _Handler._create),
    (r"GET /api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", _Handler._tell),
    (r"GET /api/models/([^/]+/[^/]+)/tree/.*", _Handler._list),
    (r"POST /api/models/([^/]+/[^/]+)/preupload/main", _Handler._sort),
    (r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler._take_batch),
    (r"PUT /lfs/([0-9a-f]+)", _Handler._take_large),
    (r"POST /api/models/([^/]+/[^/]+)/commit/main", _Handler._commit),
    (r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/[^/]+/(.+)", _Handler._read),
]
