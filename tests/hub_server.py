"""A local server that speaks the part of the Hugging Face Hub's interface that the zoo needs.

huggingface_hub talks to it through HF_ENDPOINT. Repositories are in memory; writing needs the token
`TOKEN`. Small files are kept by their Git SHA-1, others by their SHA-256, as the Hub does.
"""
import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

TOKEN = "hf_test"
_LARGE = 100_000  # bytes


class Hub(ThreadingHTTPServer):
    """Attributes: repos, {owner/name: {file: bytes}}; objects, {SHA-256: bytes}; requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repo: str) -> str:
        content = sorted((file, hashlib.sha1(data).hexdigest())
                         for file, data in self.repos[repo].items())
        return hashlib.sha1(repr(content).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args):
        pass

    def _reply(self, code, body=b"", **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        headers = {"Content-Length": str(len(body)), **headers}
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.requests.append(f"{self.command} {self.path}")
        found = re.fullmatch(r"/([\w-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)", self.path)
        if not found:
            return self._reply(404, {"error": "Not found"})
        repo, revision, file = found.groups()
        if repo not in self.server.repos:
            return self._reply(404, {"error": "Repository not found"},
                               X_Error_Code="RepoNotFound")
        commit = self.server.commit(repo)
        if revision not in ("main", commit):
            return self._reply(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
        if file not in self.server.repos[repo]:
            return self._reply(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound",
                               X_Repo_Commit=commit)
        data = self.server.repos[repo][file]
        headers = {"X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        digest = hashlib.sha256(data).hexdigest()
        if digest in self.server.objects:
            headers |= {"X_Linked_Etag": f'"{digest}"', "X_Linked_Size": str(len(data))}
        blob = b"blob %d\0" % len(data) + data
        return self._reply(200, data, ETag=f'"{hashlib.sha1(blob).hexdigest()}"', **headers)

    def do_PUT(self):
        data, digest = self._body(), self.path.rpartition("/")[2]
        assert hashlib.sha256(data).hexdigest() == digest
        self.server.objects[digest] = data
        self._reply(200)

    def do_POST(self):
        self.server.requests.append(f"POST {self.path}")
        body = self._body()
        if self.path == "/api/validate-yaml":
            header = json.loads(body)["content"].split("---\n")[1]
            errors = [] if yaml.safe_load(header).get("license") else [{"message": "no license"}]
            return self._reply(400 if errors else 200, {"errors": errors, "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._reply(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            fields = json.loads(body)
            repo = f"{fields.get('organization') or 'nobody'}/{fields['name']}"
            if repo in self.server.repos:
                return self._reply(409, {"url": f"{self.server.url}/{repo}"})
            self.server.repos[repo] = {}
            return self._reply(200, {"url": f"{self.server.url}/{repo}"})
        if found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            return self._reply(200, {"files": [
                {"path": file["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if file["size"] > _LARGE else "regular"}
                for file in json.loads(body)["files"]]})
        if self.path.endswith(".git/info/lfs/objects/batch"):
            return self._reply(200, {"transfer": "basic", "objects": [
                {"oid": item["oid"], "size": item["size"], "authenticated": True,
                 "actions": {"upload": {"href": f"{self.server.url}/lfs/{item['oid']}"}}}
                for item in json.loads(body)["objects"]]})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            files = self.server.repos[found[1]]
            for line in body.splitlines():
                item = json.loads(line)
                value = item["value"]
                if item["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif item["key"] == "lfsFile":
                    files[value["path"]] = self.server.objects[value["oid"]]
            commit = self.server.commit(found[1])
            return self._reply(200, {"success": True, "commitOid": commit,
                                     "commitUrl": f"{self.server.url}/{found[1]}/commit/{commit}"})
        return self._reply(404, {"error": f"Not found: {self.path}"})


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """A server in a thread."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
