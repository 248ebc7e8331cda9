"""An in-process Hugging Face Hub on loopback, which the real ``huggingface_hub`` client talks to.

It keeps model, dataset and Space repositories in memory and answers the Hub's HTTP API: accounts,
repositories, uploads (preupload, Git LFS, commits, pull requests), listings and downloads, with the
Hub's error codes. Faults are injected by `HubServer.fail_next` and `HubServer.truncate_next_download`.

    with HubServer() as hub:
        HfApi(endpoint=hub.url, token=TOKEN).create_repo("tester/resnext")
"""

import base64
import codecs
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from socket import SHUT_RDWR
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN, USER = "hf_testtoken", "tester"
LFS_SUFFIXES = {".safetensors", ".png", ".jpg", ".h5", ".keras", ".onnx", ".bin", ".npz", ".zip"}
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"
GIT_ATTRIBUTES = "".join(f"*{s} filter=lfs diff=lfs merge=lfs -text\n" for s in sorted(LFS_SUFFIXES)).encode()
CARD_VALUES = {"sdk": {"gradio", "docker", "static"}}
CARD_VALUES["colorFrom"] = CARD_VALUES["colorTo"] = set("red yellow green blue indigo purple pink gray".split())


def environment(url, home, token=""):
    """Environment variables for a subprocess whose Hub is `url` and whose cache and token are under `home`.

    Merge them over ``os.environ``: tokens, cache folders and an offline mode of the parent do not leak through.
    """
    home = Path(home)
    return {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"), "HF_TOKEN": token, "HUGGING_FACE_HUB_TOKEN": "",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


class HubError(Exception):
    """An error answer: HTTP status, the Hub's ``X-Error-Code`` if any, message and further headers or JSON."""

    def __init__(self, status, code, message, headers=None, **payload):
        super().__init__(message)
        self.status, self.payload = status, {"error": message, **payload}
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}


class File:
    """One file of a commit: its content, and its Git blob id (of the LFS pointer where it is stored in LFS)."""

    def __init__(self, content, lfs):
        self.content, self.size, self.sha256 = content, len(content), hashlib.sha256(content).hexdigest()
        blob = LFS_POINTER.format(self.sha256, self.size).encode() if lfs else content
        self.blob_id = hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()
        self.lfs = {"oid": self.sha256, "sha256": self.sha256, "size": self.size, "pointerSize": len(blob)} if lfs else None
        self.etag = self.sha256 if lfs else self.blob_id

    def entry(self, path):
        """The file as the tree listing shows it."""
        return {"type": "file", "oid": self.blob_id, "size": self.size, "path": path,
                **({"lfs": self.lfs} if self.lfs else {})}


@dataclass
class Commit:
    """A commit: the whole tree by path, its parent's id (None for the first), who made it and when."""

    parent: str | None
    files: dict
    title: str
    message: str
    author: str
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    def __post_init__(self):
        tree = sorted((path, file.blob_id) for path, file in self.files.items())
        self.oid = hashlib.sha1(repr((self.parent, tree, self.title, self.date)).encode()).hexdigest()


class Repo:
    """A repository: its commits by id, its refs (branches, tags, pull requests) and its LFS objects by SHA-256."""

    def __init__(self, kind, repo_id, private, sdk, author):
        self.kind, self.id, self.private, self.sdk, self.gated = kind, repo_id, private, sdk, False
        self.commits, self.refs, self.lfs = {}, {}, {}
        files = {".gitattributes": File(GIT_ATTRIBUTES, lfs=False)}
        if kind == "space":
            files["README.md"] = File(f"---\ntitle: {repo_id}\nsdk: {sdk}\n---\n".encode(), lfs=False)
        self.created = self.add("refs/heads/main", Commit(None, files, "initial commit", "", author)).date

    def add(self, ref, commit):
        """Put `commit` at the tip of `ref`."""
        self.commits[commit.oid], self.refs[ref] = commit, commit.oid
        return commit

    def ref(self, revision):
        """The ref that a branch, tag or full ref name stands for, or None."""
        return next((r for r in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision) if r in self.refs), None)

    def commit(self, revision):
        """The commit at a branch, a tag, a ref, or a commit id (whole, or at least 7 digits of it)."""
        oid = self.refs.get(self.ref(revision))
        if oid is None and re.fullmatch("[0-9a-f]{7,40}", revision):
            oid = next((o for o in self.commits if o.startswith(revision)), None)
        if oid is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[oid]

    def apply(self, files, key, value):
        """Carry out one line of a commit's payload on the tree `files`."""
        path = value["path"]
        if key == "file":
            files[path] = File(base64.b64decode(value["content"]), lfs=False)
        elif key == "lfsFile":
            if value["oid"] not in self.lfs:
                raise HubError(400, None, f"LFS pointer pointed to a file that does not exist: {path}")
            files[path] = File(self.lfs[value["oid"]], lfs=True)
        else:
            gone = [p for p in files if p == path or key == "deletedFolder" and p.startswith(path.rstrip("/") + "/")]
            if not gone:
                raise HubError(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
            for p in gone:
                del files[p]

    def entries(self, commit):
        """All files and folders of a commit, by path, as the tree listing shows them."""
        found = {path: file.entry(path) for path, file in commit.files.items()}
        for folder in {str(f) for path in commit.files for f in PurePosixPath(path).parents} - {"."}:
            oid = hashlib.sha1(f"{commit.oid} {folder}".encode()).hexdigest()
            found[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
        return dict(sorted(found.items()))


class HubServer:
    """The Hub: ``with HubServer() as hub`` serves it at `hub.url`; `hub.requests` logs (method, path with query)."""

    def __init__(self, lfs_threshold=1024):
        self.lfs_threshold, self.lock, self.requests = lfs_threshold, threading.RLock(), []
        self.users, self.repos, self.faults, self.truncations = {}, {}, [], 0
        self.add_user(TOKEN, USER)

    def __enter__(self):
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add_user(self, token, name, role="write", organizations=()):
        """An account `name` and its access token; a token of `role` "read" may not write."""
        self.users[token] = {"name": name, "role": role, "organizations": list(organizations)}

    def fail_next(self, count=1, status=503, path=""):
        """Answer the next `count` requests, of those whose path contains `path`, by `status`."""
        with self.lock:
            self.faults += [(status, path)] * count

    def truncate_next_download(self, count=1):
        """Cut the body of the next `count` downloads in half, under an unchanged Content-Length."""
        with self.lock:
            self.truncations += count

    def files(self, repo_id, revision="main", kind="model"):
        """The content of a revision by path, read past the HTTP interface."""
        with self.lock:
            return {p: f.content for p, f in self.repos[kind, repo_id].commit(revision).files.items()}

    def fault(self, target):
        """The status that a fault is to answer this request by, or None."""
        hit = next((f for f in self.faults if f[1] in target), None)
        if hit:
            self.faults.remove(hit)
        return hit and hit[0]

    def repo(self, kind, repo_id, user, write=False):
        """The repository, if `user` (None for anonymous) may see it, and may write to it if `write`."""
        repo, names = self.repos.get((kind, repo_id)), [user["name"], *user["organizations"]] if user else []
        member = repo_id.split("/")[0] in names
        if repo is None or repo.private and not member or write and not user:
            if user:
                raise HubError(404, "RepoNotFound", "Repository not found")
            raise HubError(401, "RepoNotFound", "Invalid username or password.")
        if write and not (member and user["role"] == "write"):
            raise HubError(403, None, f"Forbidden: you may not write to {repo_id}")
        return repo


class _Server(ThreadingHTTPServer):
    """Closes its kept-alive connections with itself, so that a closed server is unreachable."""

    def __init__(self, *args):
        self.connections = set()
        super().__init__(*args)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def server_close(self):
        super().server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(SHUT_RDWR)
            except OSError:
                pass  # its client hung up first


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests; the methods named in `ROUTES` return (status, headers, body)."""

    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    API = "/api/(?P<kind>model|dataset|space)s/(?P<repo_id>[^/]+/[^/]+)"
    WEB = "/(?:(?P<kind>dataset|space)s/)?(?P<repo_id>[^/]+/[^/]+)"
    REVISION = "(?P<revision>refs/pr/[0-9]+|[^/]+)"
    ROUTES = [(method, re.compile(path), name) for method, path, name in [
        ("GET", "/api/whoami-v2", "whoami"), ("POST", "/api/validate-yaml", "validate_yaml"),
        ("POST", "/api/repos/create", "create_repo"), ("DELETE", "/api/repos/delete", "delete_repo"),
        ("PUT", f"{API}/settings", "settings"), ("GET", f"{API}(?:/revision/{REVISION})?", "info"),
        ("GET", f"{API}/tree/{REVISION}(?:/(?P<path>.+))?", "tree"), ("POST", f"{API}/paths-info/{REVISION}", "paths_info"),
        ("GET", f"{API}/refs", "list_refs"), ("GET", f"{API}/commits/{REVISION}", "list_commits"),
        ("POST", f"{API}/(?P<space>tag|branch)/{REVISION}", "create_ref"),
        ("POST", f"{API}/preupload/{REVISION}", "preupload"), ("POST", f"{API}/commit/{REVISION}", "commit"),
        ("POST", f"{WEB}.git/info/lfs/objects/batch", "lfs_batch"), ("POST", f"{API}/lfs-verify", "lfs_verify"),
        ("PUT", f"{API}/lfs-objects/(?P<oid>[0-9a-f]{{64}})", "lfs_upload"),
        ("GET", f"{WEB}/resolve/{REVISION}/(?P<path>.+)", "resolve")]]

    def log_message(self, *_):
        """Keep the test's output quiet: `HubServer.requests` is the log."""

    def _answer(self):
        self.body, url, truncate = self._read_body(), urlsplit(self.path), False
        self.query = parse_qs(url.query)
        with self.hub.lock:
            self.hub.requests.append((self.command, self.path))
            try:
                if status := self.hub.fault(self.path):
                    raise HubError(status, None, "Injected fault")
                response = self._route("GET" if self.command == "HEAD" else self.command, url.path)
                if self.command == "GET" and "/resolve/" in url.path and self.hub.truncations:
                    self.hub.truncations, truncate = self.hub.truncations - 1, True
            except HubError as error:
                response = error.status, error.headers, error.payload
        status, headers, body = response
        if not isinstance(body, bytes):
            headers, body = {"Content-Type": "application/json", **headers}, json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if truncate:
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if truncate else body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def _read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _route(self, method, path):
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.user = self.hub.users.get(token)
        if token and not self.user:
            raise HubError(401, None, "Invalid credentials in Authorization header")
        for verb, pattern, name in self.ROUTES:
            if verb == method and (match := pattern.fullmatch(path)):
                arguments = {k: v and unquote(v) for k, v in match.groupdict().items()}
                if "repo_id" in arguments:
                    self.kind, self.repo_id = arguments.pop("kind") or "model", arguments.pop("repo_id")
                return getattr(self, name)(**arguments)
        raise HubError(404, None, "Sorry, we can't find the page you are looking for.")

    def _json(self):
        return json.loads(self.body)

    def _repo(self, write=False):
        return self.hub.repo(self.kind, self.repo_id, self.user, write)

    def _url(self, repo_id, kind):
        return f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{repo_id}"

    def whoami(self):
        if not self.user:
            raise HubError(401, None, "Invalid username or password.")
        name, access = self.user["name"], {"displayName": "test", "role": self.user["role"]}
        return 200, {}, {"type": "user", "id": name, "name": name, "fullname": name, "isPro": False,
                         "orgs": [{"type": "org", "name": o} for o in self.user["organizations"]],
                         "auth": {"type": "access_token", "accessToken": access}}

    def validate_yaml(self):
        card = self._json()
        front = re.match(r"---\r?\n(.*?)^---\s*$", card["content"], re.DOTALL | re.MULTILINE)
        if not front:
            opened = card["content"].startswith("---")
            note = [{"message": "YAML metadata is not closed" if opened else "empty or missing yaml metadata in repo card"}]
            return 400 if opened else 200, {}, {"errors": note if opened else [], "warnings": [] if opened else note}
        errors = [{"message": f'"{key}" must be one of {sorted(CARD_VALUES[key])}'}
                  for key, value in re.findall(r"^(\w+):[ \t]*[\"']?(\w+)", front[1], re.MULTILINE)
                  if card.get("repoType") == "space" and value not in CARD_VALUES.get(key, {value})]
        return 400 if errors else 200, {}, {"errors": errors, "warnings": []}

    def create_repo(self):
        wanted, user = self._json(), self.user
        kind, namespace = wanted.get("type") or "model", wanted.get("organization") or user and user["name"]
        if not user:
            raise HubError(401, None, "Invalid username or password.")
        if user["role"] != "write" or namespace not in [user["name"], *user["organizations"]]:
            raise HubError(403, None, f'You don\'t have the rights to create a {kind} under the namespace "{namespace}"')
        repo_id = f"{namespace}/{wanted['name']}"
        url, private = self._url(repo_id, kind), wanted.get("visibility") == "private"
        if (kind, repo_id) in self.hub.repos:
            raise HubError(409, None, f"You already created this {kind} repo: {repo_id}", url=url)
        self.hub.repos[kind, repo_id] = Repo(kind, repo_id, private, wanted.get("sdk"), user["name"])
        return 200, {}, {"url": url, "name": repo_id, "id": repo_id}

    def delete_repo(self):
        wanted = self._json()
        namespace = wanted.get("organization") or self.user and self.user["name"]
        repo = self.hub.repo(wanted.get("type") or "model", f"{namespace}/{wanted['name']}", self.user, write=True)
        del self.hub.repos[repo.kind, repo.id]
        return 200, {}, {}

    def settings(self):
        repo, wanted = self._repo(write=True), self._json()
        repo.gated, repo.private = wanted.get("gated", repo.gated), wanted.get("visibility", repo.private) in (True, "private")
        return 200, {}, {"gated": repo.gated, "private": repo.private}

    def info(self, revision):
        repo = self._repo()
        commit = repo.commit(revision or "main")
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        if "blobs" in self.query:
            for sibling in siblings:
                file = commit.files[sibling["rfilename"]]
                sibling.update(size=file.size, blobId=file.blob_id, **({"lfs": file.lfs} if file.lfs else {}))
        return 200, {}, {"id": repo.id, "author": repo.id.split("/")[0], "sha": commit.oid, "private": repo.private,
                         "gated": repo.gated, "disabled": False, "likes": 0, "tags": [], "siblings": siblings,
                         "createdAt": repo.created, "lastModified": commit.date,
                         **({"sdk": repo.sdk} if repo.kind == "space" else {"downloads": 0})}

    def tree(self, revision, path):
        repo, recursive = self._repo(), self.query.get("recursive") == ["true"]
        entries, prefix = repo.entries(repo.commit(revision)), f"{path}/" if path else ""
        inside = [e for p, e in entries.items() if p.startswith(prefix) and (recursive or "/" not in p[len(prefix):])]
        if path and not inside:
            raise HubError(404, "EntryNotFound", f"{path} does not exist on \"{revision}\"")
        return 200, {}, inside

    def paths_info(self, revision):
        repo = self._repo()
        entries = repo.entries(repo.commit(revision))
        return 200, {}, [entries[p] for p in parse_qs(self.body.decode()).get("paths", []) if p in entries]

    def list_refs(self):
        listed = {"branches": "refs/heads/", "converts": "refs/convert/", "tags": "refs/tags/", "pullRequests": "refs/pr/"}
        refs = self._repo().refs.items()
        return 200, {}, {kind: [{"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid}
                                for ref, oid in refs if ref.startswith(prefix)] for kind, prefix in listed.items()}

    def list_commits(self, revision):
        repo, log = self._repo(), []
        commit = repo.commit(revision)
        while commit:
            log.append({"id": commit.oid, "title": commit.title, "message": commit.message, "date": commit.date,
                        "authors": [{"user": commit.author}]})
            commit = repo.commits.get(commit.parent)
        return 200, {}, log

    def create_ref(self, space, revision):
        repo, wanted = self._repo(write=True), self._json()
        start = revision if space == "tag" else wanted.get("startingPoint", "main")
        ref = f"refs/tags/{wanted['tag']}" if space == "tag" else f"refs/heads/{revision}"
        if ref in repo.refs:
            raise HubError(409, None, f"Reference already exists: {ref}")
        repo.refs[ref] = repo.commit(start).oid
        return 200, {}, {}

    def _upload_repo(self):
        """The repository to upload to: a pull request needs an account, a push the right to write."""
        return self._repo(write="create_pr" not in self.query or not self.user)

    def _is_lfs(self, path, size, sample):
        """As the Hub decides it: by the name, by binary content over the threshold, or over 10 MB."""
        try:
            binary = "\0" in codecs.getincrementaldecoder("utf-8")().decode(sample)
        except UnicodeDecodeError:
            binary = True
        return PurePosixPath(path).suffix in LFS_SUFFIXES or binary and size > self.hub.lfs_threshold or size > 10_000_000

    def preupload(self, revision):
        present, answers = self._upload_repo().commit(revision).files, []
        for file in self._json()["files"]:
            path = file["path"]
            mode = "lfs" if self._is_lfs(path, file["size"], base64.b64decode(file["sample"])) else "regular"
            known = {"oid": present[path].etag} if path in present else {}
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **known})
        return 200, {}, {"files": answers}

    def lfs_batch(self):
        repo, objects = self._repo(write=not self.user or "ref" in self._json()), []
        for wanted in self._json()["objects"]:
            api = f"{self.hub.url}/api/{repo.kind}s/{repo.id}"
            actions = {"upload": {"href": f"{api}/lfs-objects/{wanted['oid']}"}, "verify": {"href": f"{api}/lfs-verify"}}
            objects.append({**wanted, **({} if wanted["oid"] in repo.lfs else {"actions": actions})})
        return 200, {}, {"transfer": "basic", "objects": objects}

    def lfs_upload(self, oid):
        """Store an LFS object; like a presigned URL, it needs no token."""
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(400, None, "The SHA-256 of the content is not the one announced")
        self.hub.repos[self.kind, self.repo_id].lfs[oid] = self.body
        return 200, {}, b""

    def lfs_verify(self):
        stored, wanted = self._repo().lfs, self._json()
        if len(stored.get(wanted["oid"], b"")) != wanted["size"]:
            raise HubError(404, None, "The LFS object was not uploaded")
        return 200, {}, {}

    def commit(self, revision):
        repo, create_pr = self._upload_repo(), "create_pr" in self.query
        lines = [json.loads(line) for line in self.body.splitlines() if line]
        header, parent, ref = lines[0]["value"], repo.commit(revision), repo.ref(revision)
        if ref is None or ref.startswith("refs/tags/"):
            raise HubError(400, None, f"Cannot commit to {revision}: not a branch")
        if create_pr:
            ref = f"refs/pr/{1 + sum(r.startswith('refs/pr/') for r in repo.refs)}"
            parent = repo.commit(header["parentCommit"]) if "parentCommit" in header else parent
        elif not parent.oid.startswith(header.get("parentCommit", "")):
            raise HubError(412, None, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for line in lines[1:]:
            repo.apply(files, line["key"], line["value"])
        commit = repo.add(ref, Commit(parent.oid, files, header["summary"], header["description"], self.user["name"]))
        url = self._url(repo.id, repo.kind)
        pull_request = f"{url}/discussions/{ref.rpartition('/')[2]}" if create_pr else None
        return 200, {}, {"success": True, "commitOid": commit.oid, "commitUrl": f"{url}/commit/{commit.oid}",
                         "pullRequestUrl": pull_request}

    def resolve(self, revision, path):
        repo = self._repo()
        if repo.gated and repo.id.split("/")[0] not in [self.user["name"], *self.user["organizations"]] if self.user else repo.gated:
            raise HubError(403 if self.user else 401, "GatedRepo", f"Access to {repo.kind} {repo.id} is restricted.")
        commit = repo.commit(revision)
        headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        if path not in commit.files:
            raise HubError(404, "EntryNotFound", "Entry not found", headers)
        file = commit.files[path]
        headers.update({"ETag": f'"{file.etag}"', "Content-Type": "application/octet-stream"})
        if file.lfs:
            headers.update({"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": file.size})
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked or not any(asked.groups()):
            return 200, headers, file.content
        first = int(asked[1]) if asked[1] else max(0, file.size - int(asked[2]))
        last = min(file.size - 1, int(asked[2])) if asked[1] and asked[2] else file.size - 1
        if first > last:
            raise HubError(416, None, "Range Not Satisfiable", {"Content-Range": f"bytes */{file.size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
        return 206, headers, file.content[first:last + 1]
