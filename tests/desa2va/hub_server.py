"""A small Hub on the loopback address: as much of its protocol as huggingface_hub speaks about
models, and datasets about data sets.

Accounts, repositories with commits, uploads (regular and LFS) and downloads with ranges, all in memory. A download can
be made to break off, and every request is remembered.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_good"
USER = "owner"


@dataclass
class Repository:
    """Commits as `(id, {path: content})`, newest last; large files by their hash."""

    gated: bool = False
    commits: list = field(default_factory=lambda: [("0" * 40, {})])
    large: set = field(default_factory=set)

    def files(self, revision):
        """`(commit, files)` of a branch or a commit, or `None`."""
        if revision in ("main", "HEAD"):
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


class Hub:
    """The server; `with Hub() as hub` runs it in a thread.

    Attributes:
        repositories: by id. requests: `(method, path, Range header)` of all so far. break_after: by owner, bytes
            of the next large download after which the connection ends.
    """

    def __init__(self):
        self.repositories, self.blobs, self.requests = {}, {}, []
        self.break_after = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    def commit(self, name, operations):
        """Applies the lines of a commit; returns its id."""
        repository = self.repositories[name]
        files = dict(repository.commits[-1][1])
        for line in operations:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
                repository.large.add(value["path"])
        number = hashlib.sha1(f"{name} {len(repository.commits)}".encode()).hexdigest()
        repository.commits.append((number, files))
        return number


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub = None

    def log_message(self, *arguments):
        """Nothing on the terminal."""

    def do_GET(self):  # noqa: N802  (the library's names)
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def answer(self):
        """One request: the first route that fits."""
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        self.query = parse_qs(urlsplit(self.path).query)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token != TOKEN:
            self.send(401, {"error": "Invalid credentials in Authorization header"})
            return
        self.known = bool(token)
        for pattern, route in ROUTES:
            match = re.fullmatch(pattern, path)
            if match:
                route(self, **match.groupdict())
                return
        self.send(404, {"error": "not found"})

    def send(self, status, content=None, **headers):
        """Status, headers (`_` for `-`), and JSON or bytes."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content_Length": len(body), "Content_Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def wants_account(self):
        """Refuses a request without a token."""
        if not self.known:
            self.send(401, {"error": "log in"})
        return not self.known

    def repository(self, name):
        """The repository, or `None` after an answer that says why not."""
        found = self.hub.repositories.get(name)
        if found is None:
            self.send(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        elif found.gated and not self.known:
            self.send(403, {"error": "gated"}, X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
            return None
        return found

    def whoami(self):
        if not self.wants_account():
            self.send(200, {"name": USER, "type": "user", "orgs": []})

    def create(self):
        if self.wants_account():
            return
        wanted = json.loads(self.body)
        name = f"{wanted.get('organization') or USER}/{wanted['name']}"
        status = 409 if name in self.hub.repositories else 200
        self.hub.repositories.setdefault(name, Repository())
        self.send(status, {"url": f"{self.hub.endpoint}/{name}", "name": name, "error": "exists"})

    def yaml(self):
        self.send(200, {"warnings": [], "errors": []})

    def preupload(self, name, revision):
        if self.wants_account() or self.repository(name) is None:
            return
        asked = json.loads(self.body)["files"]
        modes = {True: "lfs", False: "regular"}
        files = [
            {"path": file["path"], "uploadMode": modes[file["path"].endswith(".safetensors")], "shouldIgnore": False}
            for file in asked
        ]
        self.send(200, {"files": files})

    def batch(self, name):
        objects = json.loads(self.body)["objects"]
        for entry in objects:
            if entry["oid"] not in self.hub.blobs:
                entry["actions"] = {"upload": {"href": f"{self.hub.endpoint}/blobs/{entry['oid']}"}}
        self.send(200, {"transfer": "basic", "objects": objects})

    def blob(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            self.send(400, {"error": "hash"})
            return
        self.hub.blobs[oid] = self.body
        self.send(200, {})

    def commit(self, name, revision):
        if self.wants_account() or self.repository(name) is None:
            return
        number = self.hub.commit(name, [json.loads(line) for line in self.body.splitlines()])
        url = f"{self.hub.endpoint}/{name}/commit/{number}"
        self.send(200, {"commitUrl": url, "commitOid": number, "pullRequestUrl": None})

    def info(self, name, revision="main"):
        repository = self.repository(name)
        if repository is None:
            return
        found = repository.files(revision)
        if found is None:
            self.send(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
            return
        siblings = [{"rfilename": path} for path in found[1]]
        self.send(200, {"id": name, "sha": found[0], "siblings": siblings, "private": False, "tags": []})

    def tree(self, name, revision, path=""):
        repository = self.repository(name)
        if repository is None:
            return
        found = repository.files(revision)
        if found is None:
            self.send(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
            return
        entries = []
        inside = {file: content for file, content in found[1].items() if not path or file.startswith(f"{path}/")}
        if not inside:
            self.send(404, {"error": "no such folder"}, X_Error_Code="EntryNotFound")
            return
        start = len(f"{path}/") if path else 0
        if self.query.get("recursive", ["false"])[0].lower() != "true":
            below = {file[:start] + file[start:].split("/")[0] for file in inside if "/" in file[start:]}
            entries = [{"type": "directory", "path": folder, "oid": "0" * 40} for folder in sorted(below)]
            inside = {file: content for file, content in inside.items() if "/" not in file[start:]}
        for file, content in inside.items():
            entry = {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            if file in repository.large:
                entry["lfs"] = {"oid": etag_of(content), "size": len(content), "pointerSize": 134}
            entries.append(entry)
        self.send(200, entries)

    def resolve(self, name, revision, path):
        repository = self.repository(name)
        if repository is None:
            return
        found = repository.files(revision)
        if found is None:
            self.send(404, b"", X_Error_Code="RevisionNotFound")
            return
        number, files = found
        if path not in files:
            self.send(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=number)
            return
        self.content(files[path], number, path in repository.large)

    def content(self, whole, number, large):
        """A file, or the range of it that is asked for; a large one may break off."""
        etag = etag_of(whole) if large else hashlib.sha1(whole).hexdigest()
        headers = {"X_Repo_Commit": number, "ETag": f'"{etag}"', "Accept_Ranges": "bytes"}
        start = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        end = min(int(start[2]) + 1, len(whole)) if start and start[2] else len(whole)
        part = whole[int(start[1]) : end] if start else whole
        if start:
            headers["Content_Range"] = f"bytes {start[1]}-{end - 1}/{len(whole)}"
        owner = self.path.split("/")[1]
        if large and self.command == "GET" and owner in self.hub.break_after:
            cut = self.hub.break_after.pop(owner)
            self.send_response(206 if start else 200)
            for key, value in {**headers, "Content_Length": len(part)}.items():
                self.send_header(key.replace("_", "-"), str(value))
            self.end_headers()
            self.wfile.write(part[:cut])
            self.close_connection = True
            return
        self.send(206 if start else 200, part, **{"Content_Type": "application/octet-stream", **headers})


def etag_of(content):
    """Hash under which a large file is known."""
    return hashlib.sha256(content).hexdigest()


NAME = r"(?P<name>[\w.-]+/[\w.-]+)"
KIND = "(?:models|datasets)"
ROUTES = [
    ("/api/whoami-v2", _Handler.whoami),
    ("/api/repos/create", _Handler.create),
    ("/api/validate-yaml", _Handler.yaml),
    (rf"/api/models/{NAME}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    (rf"/api/models/{NAME}/commit/(?P<revision>[^/]+)", _Handler.commit),
    (rf"/api/{KIND}/{NAME}/tree/(?P<revision>[^/]+)/?(?P<path>.*)", _Handler.tree),
    (rf"/api/{KIND}/{NAME}/revision/(?P<revision>[^/]+)", _Handler.info),
    (rf"/api/{KIND}/{NAME}", _Handler.info),
    (rf"/{NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"/blobs/(?P<oid>\w+)", _Handler.blob),
    (rf"/(?:datasets/)?{NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
]
