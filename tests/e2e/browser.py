"""The Chromium of this machine, and Airflow's connection pages as a person sees them in it."""

from __future__ import annotations

import shutil
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

__all__ = ["ConnectionForm", "ConnectionsPage", "chromium"]

PICTURE_WIDTH = 1280  # pixels
WAIT = 120  # seconds; a page of a server that has just started takes a while
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1280,1600",
    "--force-prefers-reduced-motion",
    "--lang=en-US",
)


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with a profile of its own; the test is skipped where there is none."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "chromium" if browser is None else "chromedriver"
        pytest.skip(f"no {missing} on the PATH (Debian's packages: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    opened = webdriver.Chrome(options, Service(driver))
    opened.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": STILL})
    try:
        yield opened
    finally:
        opened.quit()


#: Ends each animation and transition at once: the pages of Airflow have some that ignore "reduced motion".
STILL = """
addEventListener("DOMContentLoaded", () => {
  const style = document.createElement("style");
  style.textContent = `*, *::before, *::after {
    animation-duration: 0s !important; animation-delay: 0s !important;
    transition-duration: 0s !important; transition-delay: 0s !important;
    scroll-behavior: auto !important;
  }`;
  document.head.appendChild(style);
});
"""
#: Whether a click in the middle of an element reaches it, and not something that lies above.
ON_TOP = """
const box = arguments[0].getBoundingClientRect();
const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
return top !== null && (arguments[0].contains(top) || top.contains(arguments[0]));
"""


class _Page:
    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        ignored = (StaleElementReferenceException,)
        self._wait = WebDriverWait(driver, WAIT, poll_frequency=0.1, ignored_exceptions=ignored)

    def find(self, css: str, text: str = "") -> WebElement:
        """The first visible element with this text in it; waits for it."""

        def found(_: object) -> WebElement | Literal[False]:
            for element in self.driver.find_elements(By.CSS_SELECTOR, css):
                if element.is_displayed() and text in element.text:
                    return element
            return False

        return self._wait.until(found, f"no {css} with the text {text!r}")

    def click(self, css: str, text: str = "") -> None:
        """Click an element once it can be clicked, scrolled into the middle: there is a sticky header."""

        self._press(lambda: self.find(css, text), f"{css} with the text {text!r}")

    def _press(self, find: Callable[[], WebElement], what: str) -> None:
        """Click what ``find`` returns, once it is enabled and nothing covers it.

        A page may replace or cover an element between the check and the click; such a click is repeated,
        as it has not reached the element.
        """

        def clicked(_: object) -> bool:
            element = find()
            if not element.is_enabled():
                return False
            self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
            if not self.driver.execute_script(ON_TOP, element):
                return False
            try:
                element.click()
            except ElementClickInterceptedException:
                return False
            return True

        self._wait.until(clicked, f"{what} cannot be clicked")

    def gone(self, css: str) -> None:
        """Wait until no such element is visible."""
        self._wait.until(
            lambda driver: not any(e.is_displayed() for e in driver.find_elements(By.CSS_SELECTOR, css)),
            f"{css} does not go away",
        )


class ConnectionsPage(_Page):
    """Admin, Connections."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        super().__init__(driver)
        self._url = url

    def log_in(self, user: str, password: str) -> None:
        """Log in with the simple auth manager's form."""
        self.driver.get(f"{self._url}/")
        self.find("input[name=username]").send_keys(user)
        self.find("input[name=password]").send_keys(password)
        self.click("button[type=submit]")
        self.find("nav, button[aria-label='Admin']")

    def open(self) -> None:
        """Go there by the menu, as a person does."""
        self.driver.get(f"{self._url}/")
        self.click("button[aria-label='Admin'], button", "Admin")
        self.click("[role=menuitem], [role=menu] a", "Connections")
        self.find("button", "Add Connection")

    def add(self, kind: str) -> ConnectionForm:
        """Press "Add Connection" and choose a type."""
        self.click("button", "Add Connection")
        form = ConnectionForm(self.driver)
        form.choose_type(kind)
        return form

    def edit(self, conn_id: str) -> ConnectionForm:
        """Press the pencil in a connection's row."""
        self._press_in_row(conn_id, "Edit")
        form = ConnectionForm(self.driver)
        form.sections()
        return form

    def test(self, conn_id: str) -> tuple[str, str]:
        """Press "Test Connection" in its row, once; title and text of what pops up."""
        self._press_in_row(conn_id, "Test")
        toast = self.find("[data-scope=toast][data-part=root]", "Test Connection")
        title = toast.find_element(By.CSS_SELECTOR, "[data-part=title]").text
        return title, toast.find_element(By.CSS_SELECTOR, "[data-part=description]").text

    def _press_in_row(self, conn_id: str, label: str) -> None:
        css = f"button[aria-label*='{label}']"
        self._press(
            lambda: self.find("tbody tr", conn_id).find_element(By.CSS_SELECTOR, css),
            f"{label} in the row of {conn_id}",
        )


class ConnectionForm(_Page):
    """The dialog for a new connection or an old one."""

    def choose_type(self, kind: str) -> None:
        """Choose the connection type by its name."""
        self.find("[role=dialog] input[role=combobox]").send_keys(kind, Keys.ENTER)
        self.find("[data-part=item-trigger]", "Standard Fields")

    def sections(self) -> list[str]:
        """The titles of the sections, from the top."""
        self.find("[role=dialog] [data-part=item-trigger]", "Standard Fields")
        return [e.text for e in self.driver.find_elements(By.CSS_SELECTOR, "[data-part=item-trigger]")]

    def open_section(self, title: str) -> None:
        """Open a section, which closes the one that was open."""
        trigger = self.find("[data-part=item-trigger]", title)
        if trigger.get_attribute("aria-expanded") != "true":
            self.click("[data-part=item-trigger]", title)
            css = "[data-part=item-content]:not([hidden])"
            self._wait.until(lambda driver: len(driver.find_elements(By.CSS_SELECTOR, css)) == 1)
            self._wait.until(lambda _: trigger.get_attribute("aria-expanded") == "true")

    def labels(self) -> list[str]:
        """The labels of the open section."""
        css = "[data-part=item-content]:not([hidden]) [data-scope=field][data-part=label]"
        self.find(css)
        return [e.text for e in self.driver.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()]

    def fill(self, name: str, value: str) -> None:
        """Write into a text field that is in sight; ``element_`` and a name for those of Extra."""
        field = self.find(f"[role=dialog] [name='{name}']")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(value, Keys.TAB)

    def choose(self, name: str, shown: str) -> None:
        """Choose an entry of a dropdown by the text shown."""
        css = f"#element_{name} input[role=combobox]"
        self.driver.find_element(By.CSS_SELECTOR, css).send_keys(shown, Keys.ENTER)
        self.find(f"#element_{name}", shown)

    def switch(self, name: str) -> None:
        """Turn a switch over."""
        self.click(f"[id='switch:element_{name}']")

    def widget(self, name: str) -> str:
        """What a field of Extra is: dropdown, switch, json, lines, number, or the type of its input."""
        ids = (f"[id='element_{name}']", f"[id='switch:element_{name}']", f"[name='element_{name}']")
        element = self.driver.find_element(By.CSS_SELECTOR, ", ".join(ids))
        scope = element.get_attribute("data-scope")
        if scope in ("switch", "number-input"):
            return scope.removesuffix("-input")
        if element.find_elements(By.CSS_SELECTOR, "input[role=combobox]"):
            return "dropdown"
        if element.find_elements(By.CSS_SELECTOR, "[role=code]"):
            return "json"
        if element.tag_name == "textarea":
            return "lines"
        return str(element.get_attribute("type"))

    def everything(self) -> str:
        """The page's HTML and what stands in its fields."""
        fields = self.driver.find_elements(By.CSS_SELECTOR, "input, textarea")
        return "\n".join([self.driver.page_source, *(str(f.get_property("value")) for f in fields)])

    def picture(self, file: Path, height: int) -> None:
        """Keep a picture of the dialog's upper part."""
        self.driver.execute_script("document.activeElement.blur()")
        box = self.find("[role=dialog]")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'start'})", box)
        self.gone("[data-scope=tooltip][data-part=content]")
        clip = {"x": box.rect["x"], "y": box.rect["y"], "width": box.rect["width"]}
        clip |= {"height": min(height, box.rect["height"]), "scale": PICTURE_WIDTH / box.rect["width"]}
        taken = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
        file.write_bytes(b64decode(taken["data"]))

    def save(self) -> None:
        """Press "Save" and wait until the dialog is closed."""
        self.click("[role=dialog] button", "Save")
        self.gone("[role=dialog]")
