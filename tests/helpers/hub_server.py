"""A Hugging Face Hub in memory, on the loopback interface, for the real huggingface_hub client."""

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
import typing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_testtoken"
XET_TOKEN = "xet_storagetoken"
USER = "tester"
DATE = "2025-01-01T00:00:00.000Z"
LFS_SUFFIXES = (".safetensors", ".png", ".jpg", ".h5", ".keras", ".onnx", ".bin", ".npz", ".zip")
TEXT_SUFFIXES = (".py", ".md", ".json", ".txt", ".csv", ".yaml", ".toml", ".css", ".html", ".js")
LICENSES = ("apache-2.0", "mit", "cc-by-4.0", "other")  # some of those that the Hub knows
GIT_ATTRIBUTES = "".join(
    f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES
).encode()


def environment(url, home, token=""):
    """Environment variables for a process that uses a Hub.

    Merged over `os.environ`, they hide tokens, cache folders and an offline mode of this process.

    Args:
        url: The address of the Hub.
        home: The folder of the process' cache and token.
        token: The access token of the process, if it has one.

    Returns:
        The variables as a dictionary.
    """
    home = Path(home)
    switches = ("XET", "TELEMETRY", "UPDATE_CHECK", "PROGRESS_BARS")
    return {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_TOKEN": token,
        "HUGGING_FACE_HUB_TOKEN": "",
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        **{f"HF_HUB_DISABLE_{switch}": "1" for switch in switches},
    }


@contextlib.contextmanager
def in_this_process(url, home, token=TOKEN, **variables):
    """Lets the client in this process, which read its settings when it was imported, use a Hub.

    Args:
        url: The address of the Hub.
        home: The folder of its cache.
        token: The access token, if it has one.
        variables: Further environment variables, such as proxies.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session
    from huggingface_hub.utils.tqdm import progress_bar_states

    settings = {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(Path(home) / "hub"),
        "HF_TOKEN_PATH": str(Path(home) / "token"),
    }
    with (
        mock.patch.dict(os.environ, environment(url, home, token) | variables),
        mock.patch.multiple(constants, **settings),
        mock.patch.dict(progress_bar_states, {"_global": False}),
    ):
        close_session()  # a client keeps the proxies of its time
        try:
            yield
        finally:
            close_session()


class HubError(Exception):
    """An error response.

    Args:
        status: The HTTP status.
        code: The Hub's `X-Error-Code`, or None.
        message: The message, which the client shows.
        headers: Further headers.
        payload: Further fields of the JSON body.
    """

    def __init__(self, status, code, message, headers=None, **payload):
        super().__init__(message)
        self.status = status
        self.payload = {"error": message, **payload}
        self.headers = {
            "X-Error-Message": message,
            **({"X-Error-Code": code} if code else {}),
            **(headers or {}),
        }


class _Answer(Exception):
    """What is sent instead of an error in JSON: status, headers and body."""


class Fault(typing.NamedTuple):
    """A fault that a request meets; see `HubServer.fail_next`."""

    status: int | str
    path: str
    method: str
    content: bytes | None
    headers: dict

    def fits(self, request):
        """Whether a request meets it."""
        return self.path in request.path and self.method in ("", request.command)

    def answer(self):
        """Raises what is sent, unless the request is to be carried out."""
        if callable(self.status):
            return self.status()
        if self.status == "reset":
            raise ConnectionResetError
        if self.content is not None:
            raise _Answer(self.status, self.headers, self.content)
        if self.status != "lost":
            raise HubError(self.status, None, "Injected fault", self.headers)
        return None


class File:
    """A file of a commit.

    Args:
        content: The bytes of the file.
        lfs: Whether the file is stored in LFS. Then its Git blob is the LFS pointer.
    """

    def __init__(self, content, lfs=False):
        self.content = content
        self.size = len(content)
        oid = hashlib.sha256(content).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {self.size}\n".encode()
        blob = b"blob %d\0" % len(pointer) + pointer if lfs else b"blob %d\0" % self.size + content
        self.blob_id = hashlib.sha1(blob).hexdigest()
        self.etag = oid if lfs else self.blob_id
        self.lfs = (
            {"lfs": {"oid": oid, "sha256": oid, "size": self.size, "pointerSize": len(pointer)}}
            if lfs
            else {}
        )


class Repo:
    """A repository.

    Attributes:
        commits: The files of each commit by path, by commit id.
        refs: The commit id of each branch, tag and pull request.
        lfs: The uploaded LFS objects by SHA-256.
    """

    def __init__(self, kind, repo_id, private=False, sdk=None):
        self.kind = kind
        self.id = repo_id
        self.private = private
        self.sdk = sdk
        self.gated = False
        self.path = repo_id if kind == "model" else f"{kind}s/{repo_id}"
        self.commits = {}
        self.refs = {}
        self.lfs = {}
        self.variables = {}
        self.secrets = {}
        self.runtime = {}
        self.add("refs/heads/main", {".gitattributes": File(GIT_ATTRIBUTES)}, self.path)

    def add(self, ref, files, *identity):
        """Adds a commit to a ref.

        Args:
            ref: The full name of the ref, such as refs/heads/main.
            files: The files of the commit by path.
            identity: What else makes the commit id unique, such as its parent and title.

        Returns:
            The commit id.
        """
        tree = sorted((path, file.blob_id) for path, file in files.items())
        oid = hashlib.sha1(repr((tree, identity)).encode()).hexdigest()
        self.commits[oid] = files
        self.refs[ref] = oid
        return oid

    def find(self, revision):
        """Finds a branch, tag, ref or commit id of at least 7 digits.

        Returns:
            The ref (None for a commit id), the commit id and the files.
        """
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in self.refs:
                return ref, self.refs[ref], self.commits[self.refs[ref]]
        for oid, files in self.commits.items():
            if oid.startswith(revision) and len(revision) >= 7:
                return None, oid, files
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def apply(self, files, operation, value):
        """Applies one operation of a commit's payload to the files of a commit."""
        path = value["path"]
        folder = operation == "deletedFolder" and path.rstrip("/") + "/"
        if operation == "file":
            files[path] = File(base64.b64decode(value["content"]))
        elif operation == "lfsFile":
            if value["oid"] not in self.lfs:
                raise HubError(400, None, f"LFS pointer pointed to a file that does not exist: {path}")
            files[path] = File(self.lfs[value["oid"]], lfs=True)
        else:
            gone = [p for p in files if p == path or (folder and p.startswith(folder))]
            if not gone:
                raise HubError(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
            for path in gone:
                del files[path]


class HubServer:
    """The Hub: `with HubServer() as hub` serves it at `hub.url`.

    Args:
        lfs_threshold: The size in bytes above which a file goes to LFS.
        certificate: The files of a certificate and its key, for HTTPS.

    Attributes:
        requests: The method, and the path with its query, of each request so far.
        tokens: The access token of each request so far, empty if there was none.
        bodies: The body of each request so far.
        users: The names of users by access token.
        roles: The roles of tokens by user: "read", or "write", which is the default.
        repos: The repositories by kind and id.
        jobs: What was asked for and has happened of each job, by id.
        run_job: Runs a job: a generator of the lines of its log, the last of which is "exit status N" if it
            fails. None if the user cannot pay.
        storage: The address of the client's own storage, Xet, where files that are large are uploaded to and
            downloaded from; "" if this Hub stores them itself.
        gates: A `threading.Event` by part of a path. Requests of such paths wait until it is set.
        drips: The seconds between the bytes of an answer's body by part of a path.
        header_drips: The seconds between the bytes of an answer's last header by part of a path.
    """

    def __init__(self, lfs_threshold=1024, certificate=None):
        self.lfs_threshold = lfs_threshold
        self.certificate = certificate
        self.lock = threading.Lock()
        self.requests = []
        self.tokens = []
        self.users = {TOKEN: USER}
        self.roles = {}
        self.bodies = []
        self.repos = {}
        self.jobs = {}
        self.run_job = None
        self.faults = []
        self.truncations = []
        self.gates = {}
        self.drips = {}
        self.header_drips = {}
        self.storage = ""

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def add_user(self, token, name):
        """Adds a user with an access token that has write access."""
        self.users[token] = name

    def fail_next(self, count=1, status=503, path="", *, method="", content=None, **headers):
        """Fails the next `count` requests whose path contains `path`.

        Args:
            count: How many.
            status: The HTTP status, or "reset" (the connection ends without an answer), or "lost" (the same,
                once the request has been carried out), or a function that is called before the request is
                carried out as usual.
            path: A part of the path.
            method: The method of these requests. Default: any.
            content: What is sent instead of an error in JSON, as bytes.
            headers: Further headers, with _ for -.
        """
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.extend([Fault(status, path, method, content, headers)] * count)

    def truncate_next_download(self, count=1):
        """Cuts the body of the next `count` downloads in half, with an unchanged Content-Length."""
        self.truncations.extend([True] * count)


class _Handler(BaseHTTPRequestHandler):
    """Responds to requests: methods in `ROUTES` return what is sent as JSON, or (status, headers, body)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    API = "/api/(?P<kind>model|dataset|space)s/(?P<repo_id>[^/]+/[^/]+)"
    WEB = "/(?:(?P<kind>dataset|space)s/)?(?P<repo_id>[^/]+/[^/]+)"
    REV = "(?P<revision>refs/pr/[0-9]+|[^/]+)"
    ROUTES = [
        (method, re.compile(path), name)
        for method, path, name in [
            ("GET", "/api/whoami-v2", "whoami"),
            ("POST", "/api/validate-yaml", "validate_yaml"),
            ("POST", "/api/repos/create", "create_repo"),
            ("GET", f"{API}(?:/revision/{REV})?", "info"),
            ("GET", f"{API}/tree/{REV}", "tree"),
            ("GET", f"{API}/refs", "refs"),
            ("GET|POST|DELETE", f"{API}/variables", "space_variables"),
            ("GET|POST", f"{API}/secrets", "space_secrets"),
            ("POST", f"{API}/hardware", "request_hardware"),
            ("POST", f"{API}/sleeptime", "set_sleep_time"),
            ("POST", f"{API}/tag/{REV}", "create_tag"),
            ("POST|DELETE", f"{API}/branch/(?P<branch>[^/]+)", "branch"),
            ("DELETE", "/api/repos/delete", "delete_repo"),
            ("POST", f"{API}/preupload/{REV}", "preupload"),
            ("POST", f"{WEB}.git/info/lfs/objects/batch", "lfs_batch"),
            ("PUT|POST", f"{API}/lfs/(?P<oid>.+)", "lfs_file"),
            ("GET", f"{API}/xet-(?P<access>read|write)-token/{REV}", "xet_token"),
            ("POST", f"{API}/commit/{REV}", "commit"),
            ("POST", "/api/jobs/(?P<namespace>[^/]+)", "create_job"),
            ("GET", "/api/jobs/(?P<namespace>[^/]+)/(?P<job>[^/]+)", "job"),
            ("GET", "/api/jobs/(?P<namespace>[^/]+)/(?P<job>[^/]+)/logs", "job_logs"),
            ("GET|HEAD", f"{WEB}/resolve/{REV}/(?P<path>.+)", "resolve"),
        ]
    ]

    def _answer(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a client that has given up
            self._respond()

    def _respond(self):
        url = urlsplit(self.path)
        sent = None  # bytes of the body, all by default
        self.content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.query = parse_qs(url.query)
        for gate in [gate for part, gate in self.hub.gates.items() if part in self.path]:
            gate.wait(60)
        with self.hub.lock:
            self.hub.requests.append((self.command, self.path))
            self.hub.bodies.append(self.content)
            try:
                fault = next((fault for fault in self.hub.faults if fault.fits(self)), None)
                if fault:
                    self.hub.faults.remove(fault)
                    fault.answer()
                response = self._route(url.path)
                if fault and fault.status == "lost":
                    raise ConnectionResetError
                if self.command == "GET" and "/resolve/" in url.path and self.hub.truncations:
                    sent = self.hub.truncations.pop() and len(response[2]) // 2
            except HubError as error:
                response = error.status, error.headers, error.payload
            except _Answer as answer:
                response = answer.args
            except ConnectionResetError:
                self._hang_up()
                return
        status, headers, body = response if isinstance(response, tuple) else (200, {}, response)
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response_only(status)
        # One request per connection: a closed server cannot be reached at once.
        for name, value in {**headers, "Content-Length": len(body), "Connection": "close"}.items():
            self.send_header(name, str(value))
        self._drip_header()
        self.end_headers()
        self._send(b"" if self.command == "HEAD" else body[:sent])

    def _send(self, body):
        pause = next((pause for part, pause in self.hub.drips.items() if part in self.path), None)
        if pause is None:
            self.wfile.write(body)
            return
        for byte in body:
            self.wfile.write(bytes([byte]))
            time.sleep(pause)

    def _drip_header(self):
        """Sends a header for as long as the client waits, if it should."""
        pause = next((pause for part, pause in self.hub.header_drips.items() if part in self.path), None)
        if pause is not None:
            self.flush_headers()
            self.wfile.write(b"X-Drip: ")
        while pause is not None:
            self.wfile.write(b"a")
            time.sleep(pause)

    def _hang_up(self):
        """Ends the connection without an answer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile = self.rfile = io.BytesIO()
        self.connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def _route(self, path):
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.hub.tokens.append(token)
        self.user = self.hub.users.get(token)
        if token and not self.user:
            raise HubError(401, None, "Invalid credentials in Authorization header")
        for method, pattern, name in self.ROUTES:
            if self.command in method.split("|") and (match := pattern.fullmatch(path)):
                arguments = {key: value and unquote(value) for key, value in match.groupdict().items()}
                self.kind, self.repo_id = arguments.pop("kind", None) or "model", arguments.pop("repo_id", "")
                self.owned = bool(self.user) and self.repo_id.startswith(f"{self.user}/")
                return getattr(self, name)(**arguments)
        raise HubError(404, None, "Sorry, we can't find the page you are looking for.")

    def _repo(self, write=False):
        """The request's repository, if its user has access to it, or write access if `write`."""
        repo = self.hub.repos.get((self.kind, self.repo_id))
        if not self.user and (repo is None or repo.private or write):
            raise HubError(401, "RepoNotFound", "Invalid username or password.")
        if repo is None or (repo.private and not self.owned):
            raise HubError(404, "RepoNotFound", "Repository not found")
        if write and not self.owned:
            raise HubError(403, None, f"You don't have the rights to write to {self.repo_id}")
        return repo

    def whoami(self):
        if not self.user:
            raise HubError(401, None, "Invalid username or password.")
        role = self.hub.roles.get(self.user, "write")
        return {"type": "user", "name": self.user, "orgs": [], "auth": {"accessToken": {"role": role}}}

    def validate_yaml(self):
        start, *rest = re.split(r"^---\s*$", json.loads(self.content)["content"], flags=re.MULTILINE)
        warnings = [] if rest and not start else [{"message": "empty or missing yaml metadata in repo card"}]
        errors = (
            [{"message": "YAML metadata is not closed by ---"}] if not warnings and len(rest) == 1 else []
        )
        license = re.search(r"^license: (\S*)", rest[0], re.MULTILINE) if rest else None
        if license and license[1] not in LICENSES:
            errors.append({"message": f'"license" must be one of [{", ".join(LICENSES)}, ...]'})
        return 400 if errors else 200, {}, {"errors": errors, "warnings": warnings}

    def create_repo(self):
        wanted = json.loads(self.content)
        user = self.whoami()["name"]
        kind = wanted.get("type", "model")
        repo_id = f"{wanted['organization'] or user}/{wanted['name']}"
        if not repo_id.startswith(f"{user}/"):
            raise HubError(403, None, f"You don't have the rights to create the {kind} {repo_id}")
        repo = Repo(kind, repo_id, wanted.get("visibility") == "private", wanted.get("sdk"))
        answer = {"url": f"{self.hub.url}/{repo.path}", "name": repo_id}
        if (kind, repo_id) in self.hub.repos:
            raise HubError(409, None, f"You already created this {kind} repo", **answer)
        self.hub.repos[kind, repo_id] = repo
        return answer

    def info(self, revision):
        repo = self._repo()
        blobs = "blobs" in self.query
        _, oid, files = repo.find(revision or "main")
        siblings = [
            {"rfilename": path, **({"size": f.size, "blobId": f.blob_id, **f.lfs} if blobs else {})}
            for path, f in sorted(files.items())
        ]
        return {
            "id": repo.id,
            "author": repo.id.split("/")[0],
            "sha": oid,
            "private": repo.private,
            "sdk": repo.sdk,
            "gated": repo.gated,
            "tags": [],
            "siblings": siblings,
            "createdAt": DATE,
            "lastModified": DATE,
        }

    def tree(self, revision):
        *_, files = self._repo().find(revision)
        entries = {
            p: {"type": "file", "oid": f.blob_id, "size": f.size, "path": p, **f.lfs}
            for p, f in files.items()
        }
        for folder in {str(f) for p in files for f in PurePosixPath(p).parents} - {"."}:
            entries[folder] = {
                "type": "directory",
                "oid": hashlib.sha1(folder.encode()).hexdigest(),
                "path": folder,
            }
        recursive = self.query.get("recursive") == ["true"]
        return [entry for p, entry in sorted(entries.items()) if recursive or "/" not in p]

    def refs(self):
        spaces = {"branches": "heads", "converts": "convert", "tags": "tags", "pullRequests": "pr"}
        refs = [(ref.split("/", 2), ref, oid) for ref, oid in self._repo().refs.items()]
        return {
            key: [{"name": p[2], "ref": ref, "targetCommit": oid} for p, ref, oid in refs if p[1] == space]
            for key, space in spaces.items()
        }

    def create_tag(self, revision):
        repo = self._repo(write=True)
        ref = f"refs/tags/{json.loads(self.content)['tag']}"
        if ref in repo.refs:
            raise HubError(409, None, f"Reference already exists: {ref}")
        repo.refs[ref] = repo.find(revision)[1]
        return {}

    def create_job(self, namespace):
        if namespace != self.user:
            raise HubError(403, None, f"You don't have the rights to run jobs for {namespace}")
        if self.hub.run_job is None:
            raise HubError(402, None, "Pre-paid credit balance is insufficient")
        spec = json.loads(self.content)
        job = {"id": f"job{len(self.hub.jobs)}", "spec": spec, "end": None, "stage": "RUNNING", "lines": []}
        self.hub.jobs[job["id"]] = job

        def run():
            for line in self.hub.run_job(spec):
                job["lines"].append(line)
            job["end"] = "COMPLETED" if not line.startswith("exit status") else "ERROR"

        threading.Thread(target=run, daemon=True).start()
        return self.job(namespace, job["id"])

    def job(self, namespace, job):
        found = self.hub.jobs[job]
        owner = {"id": "1", "name": namespace, "type": "user"}
        return {"id": job, "owner": owner, "status": {"stage": found["stage"], "message": None}}

    def job_logs(self, namespace, job):
        found = self.hub.jobs[job]
        # As on the Hub, whose log stays open until then, a job has not ended before its log was sent.
        found["stage"] = found["end"] or found["stage"]
        events = [{"timestamp": DATE, "data": line} for line in found["lines"]]
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return 200, {"Content-Type": "text/event-stream"}, body.encode()

    def branch(self, branch):
        repo = self._repo(write=True)
        ref = f"refs/heads/{branch}"
        if self.command == "DELETE":
            repo.refs.pop(ref)
        elif ref in repo.refs:
            raise HubError(409, None, f"Reference already exists: {ref}")
        else:
            repo.refs[ref] = repo.find("main")[1]
        return {}

    def delete_repo(self):
        wanted = json.loads(self.content)
        self.kind = wanted.get("type", "model")
        self.repo_id = f"{wanted['organization'] or self.user}/{wanted['name']}"
        self.owned = self.repo_id.startswith(f"{self.user}/")
        self._repo(write=True)
        del self.hub.repos[self.kind, self.repo_id]
        return {}

    def space_variables(self):
        variables = self._repo(write=True).variables
        if self.command == "POST":
            variable = json.loads(self.content)
            variables[variable["key"]] = {"key": variable["key"], "value": variable["value"]}
        elif self.command == "DELETE":
            del variables[json.loads(self.content)["key"]]
        return variables

    def space_secrets(self):
        secrets = self._repo(write=True).secrets
        if self.command == "POST":
            secret = json.loads(self.content)
            secrets[secret["key"]] = secret["value"]
        return {name: {"updatedAt": DATE} for name in secrets}

    def request_hardware(self):
        wanted = json.loads(self.content)
        return self._runtime(flavor=wanted["flavor"], sleep_time=wanted.get("sleepTimeSeconds"))

    def set_sleep_time(self):
        return self._runtime(sleep_time=json.loads(self.content)["seconds"])

    def _runtime(self, **changes):
        repo = self._repo(write=True)
        repo.runtime |= {name: value for name, value in changes.items() if value is not None}
        flavor = repo.runtime.get("flavor", "cpu-basic")
        return {
            "stage": "BUILDING",
            "hardware": {"current": None, "requested": flavor},
            "gcTimeout": repo.runtime.get("sleep_time"),
        }

    def preupload(self, revision):
        *_, present = self._repo(write="create_pr" not in self.query).find(revision)
        answers = []
        for file in json.loads(self.content)["files"]:
            path, large = file["path"], file["size"] > self.hub.lfs_threshold
            lfs = path.endswith(LFS_SUFFIXES) or (large and not path.endswith(TEXT_SUFFIXES))
            answers.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": False,
                    "oid": present[path].etag if path in present else None,
                }
            )
        return {"files": answers}

    def lfs_batch(self):
        # The client leaves the ref out when it opens a pull request.
        batch = json.loads(self.content)
        repo = self._repo(write="ref" in batch)
        for wanted in batch["objects"]:
            if wanted["oid"] not in repo.lfs:
                action = {"href": f"{self.hub.url}/api/{repo.kind}s/{repo.id}/lfs/{wanted['oid']}"}
                wanted["actions"] = {"upload": action, "verify": action}
        return {"transfer": "basic", "objects": batch["objects"]}

    def xet_token(self, access, revision):
        """A token for the storage, which the client sends to it instead of its own."""
        self._repo(write=access == "write")
        headers = {
            "X-Xet-Cas-Url": self.hub.storage,
            "X-Xet-Access-Token": XET_TOKEN,
            "X-Xet-Token-Expiration": int(time.time()) + 3600,
        }
        names = ("casUrl", "accessToken", "exp")
        return 200, headers, dict(zip(names, headers.values()))

    def lfs_file(self, oid):
        """Uploads an LFS object (PUT, without a token, like a presigned URL) or verifies it (POST)."""
        stored = self.hub.repos[self.kind, self.repo_id].lfs
        content = self.content if self.command == "PUT" else stored.get(oid, b"")
        if hashlib.sha256(content).hexdigest() != oid:
            raise HubError(400, None, "The LFS object is not the one announced")
        stored[oid] = content
        return {}

    def commit(self, revision):
        create_pr = "create_pr" in self.query
        # Any user may open a pull request.
        repo = self._repo(write=not create_pr or not self.user)
        header, *operations = [json.loads(line) for line in self.content.splitlines()]
        ref, tip, _ = repo.find(revision)
        base = header["value"].get("parentCommit")
        if ref is None or ref.startswith("refs/tags/"):
            raise HubError(400, None, f"Cannot commit to {revision}: not a branch")
        if create_pr:
            ref = f"refs/pr/{1 + sum(r.startswith('refs/pr/') for r in repo.refs)}"
        elif base and not tip.startswith(base):
            raise HubError(412, None, "A commit has happened since. Please refresh and try again.")
        parent = (base and repo.find(base)[1]) or tip
        files = dict(repo.commits[parent])
        for operation in operations:
            repo.apply(files, operation["key"], operation["value"])
        oid = repo.add(ref, files, parent, header["value"]["summary"])
        url = f"{self.hub.url}/{repo.path}"
        return {
            "success": True,
            "commitOid": oid,
            "commitUrl": f"{url}/commit/{oid}",
            "pullRequestUrl": f"{url}/discussions/{ref.removeprefix('refs/pr/')}" if create_pr else None,
        }

    def resolve(self, revision, path):
        repo = self._repo()
        if repo.gated and not self.owned:
            raise HubError(
                403 if self.user else 401, "GatedRepo", f"Access to {repo.kind} {repo.id} is restricted."
            )
        _, oid, files = repo.find(revision)
        file = files.get(path)
        headers = {"X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        if file is None:
            raise HubError(404, "EntryNotFound", "Entry not found", headers)
        headers["ETag"] = f'"{file.etag}"'
        if file.lfs:
            headers.update({"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": file.size})
        if file.lfs and self.hub.storage:
            token = f"{self.hub.url}/api/{repo.kind}s/{repo.id}/xet-read-token/{oid}"
            headers |= {"X-Xet-Hash": file.etag, "X-Xet-Refresh-Route": token}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first = int(asked[1])
            last = min(int(asked[2] or file.size), file.size - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
            return 206, headers, file.content[first : last + 1]
        return 200, headers, file.content
