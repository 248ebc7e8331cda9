"""Visitors of a Space in headless Chromium, who log in to push what they taught with their own tokens."""

import json

import httpx
import pytest
from playwright.sync_api import expect

from tests.helpers.certificates import make_certificate
from tests.helpers.hub_server import HubServer
from tests.helpers.openid import SECRET, OpenIdProvider
from tests.helpers.pages import PATIENCE, free_port, started
from tests.helpers.teaching import COLORS, name_and_fill

pytestmark = [pytest.mark.browser, pytest.mark.slow]

OWNER = "hf_0123456789abcdefghijklmnopqrstuvwx"
VISITORS = {"hf_oauth_" + "a1" * 20: "alice", "hf_oauth_" + "b2" * 20: "bob"}


@pytest.fixture(scope="module")
def hub():
    with HubServer() as hub:
        hub.users = {OWNER: "owner", **VISITORS}
        yield hub


@pytest.fixture(scope="module")
def provider():
    with OpenIdProvider(VISITORS) as provider:
        yield provider


@pytest.fixture(scope="module")
def space(hub, provider, tmp_path_factory):
    """The page as a Space runs it, with its owner's token."""
    top = tmp_path_factory.mktemp("space")
    certificate, key = make_certificate(tmp_path_factory.mktemp("certificate"))
    options = ("--ssl-certfile", certificate, "--ssl-keyfile", key)
    port = free_port()
    variables = provider.environment(f"127.0.0.1:{port}")
    with started(hub, top, *options, token=OWNER, port=port, **variables) as space:
        space.wait(space.answers)
        yield space


@pytest.fixture
def visit(browser, space):
    """Opens the tab as a new visitor."""
    contexts = []

    def visit(locale: str = "en-US"):
        context = browser.new_context(locale=locale, ignore_https_errors=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{space.address}/?model=flowers+(bundled)&tab=teach", timeout=4 * PATIENCE)
        expect(page.locator(".taught")).to_have_count(2, timeout=4 * PATIENCE)
        return page

    yield visit
    for context in contexts:
        context.close()


def log_in(page, choice: str) -> None:
    page.locator(".sign-in").click()
    page.get_by_text(choice).click(timeout=2 * PATIENCE)


def teach(page) -> None:
    expect(page.locator(".taught")).to_have_count(2, timeout=4 * PATIENCE)
    for place, color in enumerate(COLORS):
        name_and_fill(page, place, color)


def push(page, name: str, button: str = "Push to the Hub") -> None:
    page.get_by_label("Name of the model" if button == "Push to the Hub" else "模型名称").fill(name)
    page.get_by_role("button", name=button).click()


def test_two_visitors_push_with_their_own_tokens_which_are_shown_nowhere(visit, hub, space):
    alice, bob = visit(), visit("zh-CN")
    expect(bob.locator(".sign-in")).to_have_text("使用 Hugging Face 登录")
    log_in(alice, "Authorize as alice")
    log_in(bob, "Authorize as bob")
    expect(alice.locator(".sign-in")).to_have_text("Sign out (alice)", timeout=4 * PATIENCE)
    expect(bob.locator(".sign-in")).to_have_text("退出登录（bob）", timeout=4 * PATIENCE)
    assert "tab=teach" in alice.url and "model=flowers" in alice.url
    teach(alice)
    teach(bob)
    hub.tokens.clear()
    hub.requests.clear()
    push(alice, "colors")
    push(bob, "colors", "推送到 Hub")
    for page, name in ((alice, "alice"), (bob, "bob")):
        link = page.get_by_role("link", name=f"{hub.url}/{name}/colors")
        expect(link).to_be_visible(timeout=4 * PATIENCE)
    repos = {repo_id: repo for (_, repo_id), repo in hub.repos.items()}
    assert set(repos) == {"alice/colors", "bob/colors"}
    assert all(repo.private and "model.safetensors" in repo.find("main")[2] for repo in repos.values())
    # The Hub gives addresses to upload files to, which need no token.
    used = {
        (name, token)
        for (method, path), token in zip(hub.requests, hub.tokens)
        for name in ("alice", "bob")
        if f"/{name}/" in path and (token or method != "PUT")
    }
    assert used == {(name, token) for token, name in VISITORS.items()}
    assert set(hub.tokens) <= {"", *VISITORS}

    with alice.expect_event("dialog", lambda dialog: dialog.accept() or True):
        alice.locator(".sign-in").click()
    expect(alice.locator(".sign-in")).to_have_text("Sign in with Hugging Face", timeout=4 * PATIENCE)
    assert not alice.context.cookies()
    served = [page.content() for page in (alice, bob)]
    paths = ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json")
    served += [bob.request.get(space.address + path).text() for path in paths]
    assert not any("login" in name for name in json.loads(served[-2])["named_endpoints"])
    contents = [
        *hub.bodies,
        *(path.encode() for _, path in hub.requests),
        *(file.content for repo in repos.values() for file in repo.find("main")[2].values()),
        *(path.read_bytes() for path in space.home.rglob("*") if path.is_file()),
        *(text.encode() for text in served),
        space.log.read_bytes(),
    ]
    assert len(contents) > 30
    for secret in (OWNER, SECRET, *VISITORS):
        assert not [content for content in contents if secret.encode() in content]


def test_who_is_not_logged_in_or_no_longer_keeps_the_pictures(visit, hub, provider):
    page = visit()
    provider.seconds = -1
    log_in(page, "Authorize as alice")
    provider.seconds = 3600
    page.wait_for_url("**tab=teach*")
    expect(page.locator(".sign-in")).to_have_text("Sign in with Hugging Face", timeout=4 * PATIENCE)
    teach(page)
    hub.requests.clear()
    push(page, "late")
    expect(page.get_by_text("You are not signed in, or no longer.")).to_be_visible(timeout=2 * PATIENCE)
    assert not hub.requests
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator(".sign-in").click()
    expect(page.locator(".taught li")).to_have_count(6)


def test_a_login_that_is_denied_or_fails_is_a_sentence_and_works_later(visit, provider, space):
    page = visit()
    log_in(page, "Cancel")
    page.get_by_text("You did not sign in.").wait_for()
    assert not page.context.cookies(), "of 4 kB, which a few logins that end so would fill"
    page.get_by_text("Back to the page").click()
    page.wait_for_url("**tab=teach*")
    assert "could not sign in" not in space.log.read_text()
    provider.fault = 500
    log_in(page, "Authorize as bob")
    page.get_by_text("Signing in failed: try again later.").wait_for()
    assert "A visitor could not sign in: HTTPStatusError." in space.log.read_text()
    page.get_by_text("Back to the page").click()
    log_in(page, "Authorize as bob")
    expect(page.locator(".sign-in")).to_have_text("Sign out (bob)", timeout=4 * PATIENCE)
    assert "Traceback" not in space.log.read_text().partition("Running on local URL")[2]


def test_no_one_else_can_end_a_login(space):
    """A callback without the state that the page gave to this browser leads to the login again."""
    answer = httpx.get(f"{space.address}/login/callback?code=1&state=2", verify=False)
    assert answer.status_code == 307
    assert answer.headers["location"].startswith("/login/huggingface?")
