"""The status pages in Chromium: screen sizes, light and dark colours, no JavaScript, accessibility."""

from collections.abc import Iterator
from typing import Literal

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from fping_exporter.errors import CloudError
from fping_exporter.model import Inventory
from fping_exporter.text import printable
from tests.browser.chrome import Chrome, chrome
from tests.browser.scene import HOSTILE, Cloud, serving, watch
from tests.build import SILENT, Source, instance, inventory
from tests.web.pages import Pinger
from tests.web.site import make_cloud, make_front, make_router

pytestmark = pytest.mark.browser

PAGES = (
    "/",
    "/?q=hostile&sort=-rtt",
    "/?q=nothing",
    "/hypervisors",
    "/instance/hostile-7",
    "/instance/unknown",
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(watch(Cloud())) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chrome() as browser:
        yield browser


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1025, 1280, 2560])
def test_nothing_sticks_out_of_any_screen(browser: Chrome, url: str, path: str, width: int) -> None:
    browser.be(width, 900)
    browser.get(url + path)
    assert browser.evaluate("return document.documentElement.scrollWidth") <= width
    cut = browser.evaluate(
        """return [...document.querySelectorAll('td, th, dd, dt, .badge, time')]
        .filter(each => each.offsetWidth && each.scrollWidth > each.offsetWidth + 1)
        .map(each => each.outerHTML)"""
    )
    assert cut == []


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nobody_is_kept_from_using_it(
    browser: Chrome, url: str, path: str, scheme: Literal["light", "dark"], width: int
) -> None:
    browser.be(width, 900, scheme=scheme)
    browser.get(url + path)
    assert browser.violations() == []


@pytest.fixture(scope="module")
def clouds_url() -> Iterator[str]:
    """The overview of three clouds: one with instances, one that refuses, and one with a long name."""
    silent = Pinger({"127.0.0.2": SILENT})
    listed = inventory(*(instance(str(number), f"127.0.0.{number}") for number in (1, 2)))
    clouds = {
        "lon1": make_cloud("lon1", Source(lambda: listed), silent),
        "par1": make_cloud("par1", Source(_refuse), silent),
        "a" * 64: make_cloud("a" * 64, Source(lambda: listed), silent),
    }
    with serving(make_router(clouds, make_front(clouds))) as url:
        yield url


def _refuse() -> Inventory:
    raise CloudError("https://keystone.example.com:5000/v3: " + "a" * 80)


@pytest.mark.parametrize("path", ["/", "/nothing", "/clouds/lon1/"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_overview_of_clouds_fits_and_keeps_nobody_out(
    browser: Chrome, clouds_url: str, path: str, scheme: Literal["light", "dark"], width: int
) -> None:
    browser.be(width, 900, scheme=scheme)
    browser.get(clouds_url + path)
    assert browser.evaluate("return document.documentElement.scrollWidth") <= width
    assert browser.violations() == []


def test_light_and_dark_are_the_systems_choice(browser: Chrome, url: str) -> None:
    colours = []
    for scheme in ("light", "dark"):
        browser.be(1280, 900, scheme=scheme)
        browser.get(url)
        colours.append(browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color"))
    assert colours == ["rgba(246, 248, 250, 1)", "rgba(13, 17, 23, 1)"]


def test_names_are_text(browser: Chrome, url: str) -> None:
    browser.be(1280, 900)
    browser.complaints()
    browser.get(f"{url}/?q=hostile&sort=name")
    shown = {
        row.find_element(By.CSS_SELECTOR, ".id").text: row.find_element(By.TAG_NAME, "a")
        for row in browser.find_elements(By.CSS_SELECTOR, "table.wide tbody th")
    }
    for number, name in enumerate(HOSTILE):
        link = shown[f"hostile-{number}"]
        text = printable(name).strip() or f"hostile-{number}"
        assert str(link.get_property("textContent")).strip() == text
    for number in range(len(HOSTILE)):
        browser.get(f"{url}/instance/hostile-{number}")
    assert "owned" not in browser.title.replace("document.title='owned'", "")
    assert browser.complaints() == []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Chrome, url: str) -> None:
    browser.be(1280, 900)
    browser.get(f"{url}/instance/hostile-7")
    links = browser.find_elements(By.TAG_NAME, "a")
    for link in links:
        browser.find_element(By.TAG_NAME, "html").send_keys(Keys.TAB)
        focused = browser.switch_to.active_element
        assert focused == link
        assert focused.value_of_css_property("outline-style") == "solid"


def test_the_first_tab_skips_to_the_instances(browser: Chrome, url: str) -> None:
    browser.be(1280, 900)
    browser.get(url)
    browser.find_element(By.TAG_NAME, "html").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the instances"
    browser.switch_to.active_element.send_keys(Keys.ENTER, Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("name") == "q"


def test_the_page_is_loaded_again_on_request(browser: Chrome, url: str) -> None:
    browser.get(f"{url}/?refresh=5")
    WebDriverWait(browser, 30).until(staleness_of(browser.find_element(By.TAG_NAME, "html")))


def rows(browser: Chrome) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, "table.wide tbody tr")


def follow(browser: Chrome, element: WebElement) -> None:
    """Click a link or a button, and wait until the page has changed."""
    page = browser.find_element(By.TAG_NAME, "html")
    element.click()
    WebDriverWait(browser, 10).until(staleness_of(page))


def test_all_of_it_works_without_javascript(url: str) -> None:
    with chrome(javascript=False) as browser:
        browser.be(1280, 900)
        browser.get(url)
        assert len(rows(browser)) == 100
        assert "silent" in browser.title

        follow(browser, browser.find_element(By.LINK_TEXT, "Next"))
        assert "101 to 200 of 249" in browser.find_element(By.CSS_SELECTOR, ".wide caption").text

        browser.find_element(By.NAME, "q").send_keys("vm-")
        Select(browser.find_element(By.NAME, "project")).select_by_visible_text("team-001")
        Select(browser.find_element(By.NAME, "ping")).select_by_visible_text("no reply")
        follow(browser, browser.find_element(By.XPATH, "//button"))
        found = len(rows(browser))
        assert 0 < found < 50
        assert {row.find_element(By.CSS_SELECTOR, "td a").text for row in rows(browser)} == {"team-001"}

        follow(browser, browser.find_element(By.PARTIAL_LINK_TEXT, "Instance"))
        names = [row.find_element(By.TAG_NAME, "a").text for row in rows(browser)]
        assert len(names) == found
        assert names == sorted(names)
        follow(browser, browser.find_element(By.PARTIAL_LINK_TEXT, "Instance"))
        assert [row.find_element(By.TAG_NAME, "a").text for row in rows(browser)] == names[::-1]

        follow(browser, browser.find_element(By.LINK_TEXT, names[0]))
        assert browser.find_element(By.TAG_NAME, "h1").text.startswith(names[0])
        follow(browser, browser.find_element(By.LINK_TEXT, "The filtered instances"))
        assert len(rows(browser)) == found
        follow(browser, browser.find_element(By.LINK_TEXT, "Show all"))

        follow(browser, browser.find_element(By.CSS_SELECTOR, ".tiles .bad a"))
        states = {row.find_elements(By.TAG_NAME, "td")[1].text for row in rows(browser)}
        assert states == {"ACTIVE"}
