"""The account page in a real browser: sign-in, keys, webhooks, theme."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.accounts import keys, tenants
from limner_shared.db.engine import Database
from tests.e2e.accessibility import in_all_modes
from tests.e2e.keyboard import enter, press
from tests.e2e.running import limner_up
from tests.e2e.states import MODES
from tests.processes import eventually
from tests.receivers import Answer, receiver

pytestmark = pytest.mark.long


def test_the_theme_is_kept_without_a_flash(open_page: Callable[..., Page]):
    page = open_page("/account")
    page.get_by_label("High contrast").check()
    page.goto(page.url.replace("account", ""))
    assert page.evaluate("document.documentElement.dataset.theme") == "contrast"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(0, 0, 0)"


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str, str]]:
    """The port of a service that requires keys, a key with the scope admin, and one to rotate."""
    data, port = tmp_path_factory.mktemp("protected") / "data", free_port()
    with limner_up(data, port, LIMNER_REQUIRE_KEYS="true", LIMNER_WEBHOOK_INTERNAL_TARGETS="127.0.0.1"):
        database = Database(f"sqlite:///{data}/limner.db")
        with database.write() as session:
            key = keys.create(session, "ours", "laptop", scopes=["admin"])
            keys.create(session, "ours", "old one")
            spare = keys.create(session, "ours", "spare", scopes=["admin"])
            tenants.change_tenant(session, "ours", {"cost_per_day": 100_000})
        database.dispose()
        yield port, key, spare


def test_a_person_signs_in_draws_revokes_a_key_and_signs_out(
    protected: tuple[int, str, str], open_page: Callable[..., Page]
):
    port, key, _ = protected
    page = open_page("/account", port=port)
    page.get_by_label("API key").fill("lmn_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    sign_in(page, key)
    row = page.locator("#keys").get_by_role("listitem").filter(has_text="old one")
    row.get_by_role("button", name="Revoke old one").click()
    page.get_by_role("button", name="Revoke it").click()
    expect(row).to_contain_text("revoked")
    page.get_by_role("link", name="Studio").click()
    expect(page.locator("#empty")).to_be_visible()
    page.get_by_role("textbox", name="Prompt").fill("ghost")
    page.keyboard.press("Enter")
    expect(page.locator(".tile[data-state=succeeded] img").first).to_be_visible(timeout=60_000)
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("link", name="Account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_account_says_what_a_days_cost_units_are_worth(
    protected: tuple[int, str, str], open_page: Callable[..., Page]
):
    port, key, _ = protected
    page = open_page("/account", port=port)
    sign_in(page, key)
    usage = page.get_by_role("region", name="Usage")
    price = usage.get_by_text("One picture of Limner Flow with the default settings costs 128 cost units.")
    spent = usage.get_by_role("progressbar", name="Cost units a day")
    expect(price).to_be_visible()
    rest = 100_000 - int(spent.evaluate("bar => bar.value"))
    expect(price).to_contain_text(f"There is room for {rest // 128} more today.")
    expect(usage.get_by_role("img", name="Jobs of the last 7 days")).to_be_visible()


def sign_in(page: Page, key: str, *, scripted: bool = True) -> None:
    """Sign in, and wait for the page that was asked for, whose scripts have to answer its buttons."""
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Sign in")).to_have_count(0)
    if scripted:
        expect(page.locator("[aria-busy=true]")).to_have_count(0)


def test_only_the_operator_sees_the_queues_of_all_tenants(
    protected: tuple[int, str, str], open_page: Callable[..., Page]
):
    port, key, _ = protected
    page = open_page("/queue", port=port)
    with page.expect_response("**/api/v1/queues") as answer:
        sign_in(page, key)
    assert answer.value.status == 403
    expect(page.locator("#figures")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#operator")).to_be_hidden()


def test_only_the_operator_is_offered_to_change_what_is_kept(
    protected: tuple[int, str, str], open_page: Callable[..., Page]
):
    port, key, _ = protected
    page = open_page("/account", port=port)
    sign_in(page, key)
    kept = page.get_by_role("region", name="What is kept")
    expect(kept.get_by_role("definition").first).to_have_text("until you delete them")
    expect(kept.get_by_role("button")).to_have_count(0)


def test_a_webhook_is_added_tested_and_its_delivery_sent_again(
    protected: tuple[int, str, str], open_page: Callable[..., Page]
):
    port, key, _ = protected
    page = open_page("/account", port=port)
    sign_in(page, key)
    with receiver(lambda _request: Answer(200, b"<b>thanks</b>")) as shop:
        page.get_by_role("button", name="Add a webhook").click()
        dialog = page.get_by_role("dialog", name="Add a webhook")
        dialog.get_by_label("Name").fill("shop")
        dialog.get_by_label("Address").fill(shop.url)
        dialog.get_by_role("button", name="Add").click()
        secret = page.get_by_role("dialog", name="Keep its secret")
        expect(secret).to_contain_text("whsec_")
        secret.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Test shop").click()
        expect(page.get_by_text("shop answered with 200")).to_be_visible(timeout=30_000)
        page.get_by_role("button", name="Log of").click()
        log = page.get_by_role("dialog")
        expect(log.locator("tbody tr")).to_contain_text("200")
        log.get_by_text("Answer 1").click()
        expect(log.get_by_text("<b>thanks</b>", exact=True)).to_be_visible()
        log.get_by_text("What is sent").click()
        expect(log).to_contain_text(f"webhook-id: {shop.requests[0].headers['webhook-id']}")
        log.get_by_role("button", name="Close").click()
        page.get_by_role("button", name=re.compile("^Send job.* again$")).click()
        eventually(lambda: len(shop.requests) == 2)
        first, second = shop.requests
        assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
        page.get_by_role("button", name="Delete shop").click()
        page.get_by_role("button", name="Delete it").click()
        expect(page.get_by_text("No webhooks.")).to_be_visible()


def test_failed_deliveries_can_be_sent_again_after_many_that_succeeded(
    protected: tuple[int, str, str], open_page: Callable[..., Page]
):
    port, key, _ = protected
    page = open_page("/account", port=port)

    def one_failed(route: Route) -> None:
        items = [{"id": "whd_1"}] if "state=failed" in route.request.url else []
        route.fulfill(json={"items": items, "next": None})

    page.route("**/api/v1/webhook_deliveries?*", one_failed)
    sign_in(page, key)
    expect(page.get_by_role("button", name="Send all failed again")).to_be_visible()


def test_a_rotated_key_is_shown_once_and_the_session_goes_on_with_it(
    protected: tuple[int, str, str], open_page: Callable[..., Page]
):
    port, _, key = protected
    page = open_page("/account", port=port)
    sign_in(page, key)
    page.get_by_role("button", name="Rotate this key").click()
    dialog = page.get_by_role("dialog", name="Rotate this key?")
    dialog.get_by_label("The old key stops working").select_option("at once")
    dialog.get_by_role("button", name="Rotate it").click()
    shown = page.get_by_role("dialog", name="Your new key")
    new = shown.locator("code").inner_text()
    shown.get_by_role("button", name="Close").click()
    page.reload()
    expect(page.get_by_role("heading", name="Account")).to_be_visible()
    assert (may_read_usage(page, port, key), may_read_usage(page, port, new)) == (False, True)


def may_read_usage(page: Page, port: int, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    return page.request.get(f"http://127.0.0.1:{port}/api/v1/usage", headers=headers).status == 200


def new_key_form(page: Page) -> Locator:
    """The form of a new key, opened."""
    page.get_by_text("New key …").click()
    return page.locator("#new-key form")


def test_a_key_is_made_with_scopes_and_an_expiry_shown_once_and_revoked(
    protected: tuple[int, str, str], open_page: Callable[..., Page]
):
    port, key, _ = protected
    page = open_page("/account", port=port)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, key)
    form = new_key_form(page)
    form.get_by_label("What is it for?").fill("dashboard")
    for scope in ("read", "submit"):
        form.get_by_label(f"{scope}:").uncheck()
    form.get_by_role("button", name="Make the key").click()
    expect(form.get_by_role("alert")).to_have_text("Choose at least one scope.")
    form.get_by_label("read:").check()
    form.get_by_label("Expires").select_option("in 30 days")
    form.get_by_role("button", name="Make the key").click()
    shown = page.get_by_role("dialog", name="The key “dashboard”")
    made = shown.locator("code").inner_text()
    shown.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Key copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == made
    shown.get_by_role("button", name="Close").click()
    row = page.locator("#keys").get_by_role("listitem").filter(has_text="dashboard")
    expect(row).to_contain_text("read")
    expect(page.locator("#keys").get_by_role("listitem").filter(has_text="this browser")).to_contain_text("laptop")
    assert may_read_usage(page, port, made)
    row.get_by_role("button", name="Revoke dashboard").click()
    page.get_by_role("button", name="Revoke it").click()
    expect(row).to_contain_text("revoked")
    assert not may_read_usage(page, port, made)
    assert made not in page.content()


def test_a_key_is_made_without_javascript(protected: tuple[int, str, str], open_page: Callable[..., Page]):
    port, key, _ = protected
    page = open_page("/account", port=port, java_script_enabled=False)
    sign_in(page, key, scripted=False)
    form = new_key_form(page)
    form.get_by_label("What is it for?").fill("cron <b>")
    for scope in ("read", "submit"):
        form.get_by_label(f"{scope}:").uncheck()
    form.get_by_role("button", name="Make the key").click()
    expect(form.get_by_role("alert")).to_be_visible()
    expect(form.get_by_label("What is it for?")).to_have_value("cron <b>")
    form.get_by_label("submit:").check()
    form.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("heading", name="Your new key")).to_be_visible()
    made = page.locator("code.secret").inner_text()
    headers = {"Authorization": f"Bearer {made}"}
    assert page.request.get(f"http://127.0.0.1:{port}/api/v1/jobs", headers=headers).status == 403


def test_a_key_without_the_scope_admin_is_offered_no_new_keys(
    protected: tuple[int, str, str], open_page: Callable[..., Page]
):
    port, key, _ = protected
    page = open_page("/account", port=port)
    answer = page.request.post(
        f"http://127.0.0.1:{port}/api/v1/keys", headers={"Authorization": f"Bearer {key}"}, data={"label": "reader"}
    )
    sign_in(page, answer.json()["key"])
    expect(page.get_by_text("Making, listing and revoking keys needs a key with the scope admin.")).to_be_visible()
    expect(page.locator("#new-key")).to_be_hidden()


def test_the_keys_have_no_accessibility_violation(protected: tuple[int, str, str], open_page: Callable[..., Page]):
    port, key, _ = protected
    page = open_page("/account", port=port, reduced_motion="reduce", **MODES["light"])
    sign_in(page, key)
    new_key_form(page)
    expect(page.locator("#keys").get_by_role("listitem").first).to_be_visible()
    assert in_all_modes(page) == []


def test_a_key_is_made_and_revoked_by_keyboard_alone(protected: tuple[int, str, str], open_page: Callable[..., Page]):
    port, key, _ = protected
    page = open_page("/account", port=port)
    enter(page, "API key", key)
    page.keyboard.press("Enter")
    expect(page.locator("#keys li").first).to_be_visible()
    press(page, "New key")
    enter(page, "What is it for?", "made by keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="The key “made by keys”")).to_be_visible()
    page.keyboard.press("Escape")
    press(page, "Revoke made by keys")
    expect(page.get_by_role("dialog", name="Revoke “made by keys”?")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#keys li").filter(has_text="made by keys")).to_contain_text("revoked")
