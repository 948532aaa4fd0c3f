"""The page in a real browser: from an upload to a file, compared with the Python API; and two visitors at once."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import desa2va

SECONDS = 90  # a busy machine


@pytest.fixture
def address(tmp_path):
    """Address of a running page whose temporary files lie in `tmp_path`; ends it, and looks for what is left."""
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "private.txt").write_text("private")
    command = [sys.executable, "-m", "desa2va", "web", "--port", str(port), "--device", "cpu"]
    root = os.path.dirname(os.path.dirname(desa2va.__file__))
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": root}
    with (tmp_path / "log.txt").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd=tmp_path / "here")
        try:
            end = time.monotonic() + 2 * SECONDS
            while True:
                assert process.poll() is None, (tmp_path / "log.txt").read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}").close()
                    break
                except urllib.error.URLError:
                    assert time.monotonic() < end, "the page does not come up"
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert not list(tmp_path.glob("desa2va-*"))


@pytest.fixture
def browser():
    """Headless Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1600"):
        options.add_argument(word)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def until(look):
    """What `look` gives once it gives something."""
    end = time.monotonic() + SECONDS
    while not (seen := look()):
        assert time.monotonic() < end, "not on the page"
        time.sleep(0.1)
    return seen


def part(browser, selector):
    """A part of the page once it can be seen."""
    return until(lambda: next((one for one in browser.find_elements("css selector", selector) if shows(one)), None))


def shows(element):
    try:
        return element.is_displayed()
    except Exception:  # gradio has put another in its place
        return False


def said(browser, pattern):
    """The match of the page's sentence, once it matches."""

    def look():
        text = browser.execute_script("const e = document.querySelector('#said'); return e ? e.textContent : ''")
        return re.search(pattern, text)

    return until(look)


def test_from_an_upload_to_a_file(address, browser, demo, shipped):
    """Upload, a sentence, tracking, a correcting click, tracking, download: the file is the Python API's."""
    browser.get(address)
    until(lambda: browser.find_elements("css selector", "#upload input[type=file]"))[0].send_keys(
        str(demo / "clip.mp4")
    )
    picture = part(browser, "#canvas img")
    part(browser, "#text textarea").send_keys("the red object\n")
    said(browser, "1 object found")
    part(browser, "#follow").click()
    said(browser, "8 frames done")
    picture = part(browser, "#canvas img")
    picture.click()
    x, y = map(float, said(browser, r"Corrected on frame 7 at (\d+), (\d+)").groups())
    assert 118 < x < 138, "the middle of 256 pixels"
    assert 118 < y < 138
    part(browser, "#follow").click()
    said(browser, "1 frames done")
    part(browser, "#export").click()
    links = until(lambda: [one.get_attribute("href") for one in browser.find_elements("css selector", "#written a")])
    (coco,) = {link for link in links if link.endswith("coco.json")}
    with urllib.request.urlopen(coco) as file:
        got = json.load(file)
    with desa2va.DeSa2VASession(*shipped, str(demo / "clip.mp4")) as session:
        (number,) = session.add(text="the red object", key_frames=[0])
        list(session.propagate())
        session.correct(number, 7, points=[[x, y, 1]])
        list(session.propagate())
        wanted = json.loads(json.dumps(session.results().to_coco()))
    assert wanted["annotations"]
    assert [(one["image_id"], one["segmentation"]) for one in got["annotations"]] == [
        (one["image_id"], one["segmentation"]) for one in wanted["annotations"]
    ]


def test_two_browsers_do_not_see_each_other(address, browser, tmp_path):
    """A second page has nothing open; files of the first are not given out, nor any of the machine."""
    browser.get(address)
    part(browser, "#scene").click()
    part(browser, "#canvas img")
    part(browser, "#text textarea").send_keys("the red object\n")
    said(browser, "1 object found")
    part(browser, "#save").click()
    (saved,) = until(lambda: list(tmp_path.glob("desa2va-visitor-*/work.desa2va")))
    for path in (saved, tmp_path / "here" / "private.txt", "/etc/passwd", next(tmp_path.glob("desa2va-web-*"))):
        for route in (f"/gradio_api/file={path}", f"/gradio_api/file=/../..{path}"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(address + route)
            assert refused.value.code in (403, 404)
    browser.switch_to.new_window("tab")
    browser.get(address)
    part(browser, "#export")
    assert not browser.find_elements("css selector", "#canvas img")


def test_without_the_extra_the_command_says_what_to_install(capsys, monkeypatch):
    """An ImportError with a traceback is no answer."""
    from desa2va.cli import main

    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "desa2va.web.page", raising=False)
    assert main(["web"]) == 2
    assert "pip install 'desa2va[web]'" in capsys.readouterr().err
